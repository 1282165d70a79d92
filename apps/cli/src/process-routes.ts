// apps/cli/src/process-routes.ts
// What operators ask of one recipient's process; the router has found its owner. Answered beside the
// process, not by it: also while it is stuck, in back-off or in quarantine.
//   PA1  Answers hold keys, counts and error texts; no state, no message, no attribute (D8).
import { callHandler, type KindHandler } from "@carillon/cluster";
import { PROCESS_INSPECT, PROCESS_RESET } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import type { InspectableTable } from "@carillon/process";
import { type ProcessAdminDeps, viewOf } from "./process-admin.ts";

export function processHandlers({
  forgetQuarantine,
  onFault,
}: Pick<ProcessAdminDeps, "forgetQuarantine" | "onFault">): KindHandler<{
  readonly table: InspectableTable;
}>[] {
  return [
    callHandler(PROCESS_INSPECT, ({ served: { table }, slot }) => ({
      kind: "reply",
      reply: viewOf(table.name, table.inspect(slot)),
    })),
    callHandler(PROCESS_RESET, async ({ served: { table }, slot }) => {
      const isChanged = table.reset(slot); // also while the store is away
      try {
        await forgetQuarantine(table.name, slot);
      } catch (cause) {
        if (!(cause instanceof Fault)) throw cause;
        onFault(cause);
        return { kind: "failed", reason: "exit" }; // done by half: the store may bring it back
      }
      return { kind: "reply", reply: { isChanged } };
    }),
  ];
}
