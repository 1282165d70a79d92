// test/e2e/timer-owner.ts
// An owner of timers, to be killed, with a flow of three steps. Each step says so in a file before it sets the next
// one; what is written stays written. Arguments: database url, member id, file.
import { appendFileSync } from "node:fs";
import { memberId, others, runOwner } from "./owner-process.ts";

const [file = ""] = others;
const kind = "steps"; // of the test's own: chains are of kind "flow"

await runOwner({
  timerHandlers: [
    {
      kind,
      async fire({ key, tenantId, payload, lateMs }, { timers }) {
        const step = Number(payload);
        appendFileSync(file, `${memberId} ${key} ${step} ${lateMs}\n`);
        if (step === 3) return;
        const due = { inMs: 200 };
        const isSet = await timers.set({ kind, key, tenantId, due, payload: step + 1 });
        if (!isSet) throw new Error("another owner has it");
      },
    },
  ],
});
