// apps/cli/bench/results.ts
// The table that the bench prints: what was measured, and whether a bar of the design was held by it.
export class Results {
  readonly #rows: string[] = [];

  add(what: string, measured: string): void {
    this.#add(what, measured, "");
  }

  /** `value` in the bar's unit. */
  judge(what: string, measured: string, { value, most }: { value: number; most: number }): void {
    const verdict = value <= most ? "held" : "MISSED";
    this.#add(what, measured, `≤ ${most.toLocaleString("en")} ms: ${verdict}`);
  }

  print(): void {
    console.log("\n| What | Measured | Bar |\n|---|---|---|");
    for (const row of this.#rows) console.log(row);
  }

  #add(...cells: string[]): void {
    const row = `| ${cells.join(" | ")} |`;
    this.#rows.push(row);
    console.log(row);
  }
}

export function showMs(values: readonly number[]): string {
  const digits = Math.max(...values) < 10 ? 1 : 0;
  return `${values.map((ms) => ms.toLocaleString("en", { maximumFractionDigits: digits })).join(", ")} ms`;
}
