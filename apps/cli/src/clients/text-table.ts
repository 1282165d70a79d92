// apps/cli/src/clients/text-table.ts
// Tables and numbers for a terminal.

/** The first column to the left, numbers to the right; a rule below the head. */
export function textTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    widths
      .map((width, column) => {
        const cell = cells[column] ?? "";
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("   ")
      .trimEnd();
  const rule = widths.map((width) => "─".repeat(width)).join("───");
  return [line(head), rule, ...rows.map(line)].join("\n");
}

/** 10000 → "10,000". */
export function countText(count: number): string {
  return Math.round(count).toLocaleString("en");
}

export function msText(ms: number | undefined): string {
  if (ms === undefined) return "–";
  return ms < 10 ? ms.toFixed(1) : countText(ms);
}
