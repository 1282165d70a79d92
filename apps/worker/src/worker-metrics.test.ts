// Goal: D6, as metrics: what a node holds and refuses, by structure. Method: a node that tells what the test says, a
// clock that the test moves.
import type { DeliveryNode, DeliveryStats } from "@carillon/delivery";
import { createMetrics } from "@carillon/telemetry";
import { expect, test } from "vitest";
import { publishStats } from "./worker-metrics.ts";

test("D6 — what is held is a gauge of each structure, what is refused a counter from now on", async () => {
  const bounded = {
    held: { controls: 3, tail: 7 },
    refused: { openings: 5 },
  };
  const delivery = {
    stats: (): DeliveryStats => ({
      ...{
        partitionCount: 0,
        sessionCount: 0,
        ratedRowsCount: 0,
        ratesRefusedTotal: 0,
        openEntryCount: 0,
        dirtyEntryCount: 0,
      },
      ...{ incomingCount: 0, heldRowsCount: 0, shelvedRecipientCount: 0, recipientCount: 0 },
      ...{ deliverMessagesTotal: 0, deliverFailedTotal: 0, timersFiringCount: 0 },
      ...{ journalWaitingCount: 0, journalWrittenTotal: 0, journalDroppedTotal: 0 },
      bounded: structuredClone(bounded) as unknown as DeliveryStats["bounded"],
    }),
  };
  const metrics = createMetrics({ region: "fra", hasDefaults: false });
  let publish = (): void => undefined;
  const stop = publishStats({
    ...{ metrics, delivery: delivery as unknown as DeliveryNode, leaseAgeMs: () => 0 },
    clock: {
      setTimer(_: number, run: () => void) {
        publish = run;
        return { cancel: () => void (publish = () => undefined) };
      },
    } as unknown as Parameters<typeof publishStats>[0]["clock"],
  });
  const linesOf = async (name: string) =>
    (await metrics.render()).text.split("\n").filter((line) => line.startsWith(name));
  publish();
  expect(await linesOf("carillon_worker_bounded_items_count")).toEqual([
    'carillon_worker_bounded_items_count{structure="controls",region="fra"} 3',
    'carillon_worker_bounded_items_count{structure="tail",region="fra"} 7',
  ]);
  bounded.refused.openings = 9;
  bounded.held.tail = 0;
  publish();
  expect(await linesOf("carillon_worker_bounded_refused_total")).toEqual([
    'carillon_worker_bounded_refused_total{structure="openings",region="fra"} 4',
  ]);
  expect((await linesOf("carillon_worker_bounded_items_count"))[1]).toMatch(/"tail".* 0$/u);
  stop();
});
