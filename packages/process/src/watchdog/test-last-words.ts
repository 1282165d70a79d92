// packages/process/src/watchdog/test-last-words.ts
// For watchdog.test.ts: last words of every kind, also those that never end.
import { appendFileSync } from "node:fs";
import { connect } from "node:net";
import type { Culprit } from "./stall.ts";

export type LastWordsData =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "tcp"; readonly port: number }
  | { readonly kind: "hang" | "block" | "throw" | "nothing" };

export function lastWords(culprit: Culprit, data: LastWordsData): Promise<"done" | "nothing"> {
  switch (data.kind) {
    case "file":
      appendFileSync(data.path, `${JSON.stringify(culprit)}\n`);
      return Promise.resolve("done");
    case "tcp":
      return new Promise((resolve, reject) => {
        const socket = connect(data.port, "127.0.0.1", () =>
          socket.end(JSON.stringify(culprit), () => resolve("done")),
        ).on("error", reject);
      });
    case "nothing":
      return Promise.resolve("nothing");
    case "hang":
      return new Promise(() => undefined);
    case "block":
      for (;;);
    default:
      throw new Error("no words");
  }
}
