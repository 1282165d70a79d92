// Goal: HD1, what is counted beside a database that holds nothing. Method: a scripted outbox, fake clock.
import { Fault } from "@carillon/kernel";
import { createMetrics } from "@carillon/telemetry";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { publishOutboxAge } from "./node-telemetry.ts";

test("HD1 — an empty database has no outbox to ask, which is no failure; one that is away is", async () => {
  const clock = new FakeClock();
  const metrics = createMetrics({ region: "fra", hasDefaults: false });
  const database = { isEmpty: true, isAway: false, asked: 0 };
  const stop = publishOutboxAge({
    outbox: {
      async oldestAgeMs() {
        database.asked++;
        if (database.isEmpty || database.isAway)
          throw new Fault("no outbox", { code: "store_unavailable", isRetryable: true });
        return 7_000;
      },
    },
    isEmpty: () => database.isEmpty,
    metrics,
    clock,
  });
  const shown = async () => {
    await clock.advance(5_000);
    const [age] = (await metrics.outboxAge.get()).values;
    const { values } = await metrics.failures.get();
    const failures = values.find(({ labels }) => labels.component === "outbox_age");
    return [database.asked, age?.value, failures?.value ?? 0];
  };
  expect(await shown()).toEqual([0, 0, 0]);
  database.isEmpty = false; // begun, or made a copy
  expect(await shown()).toEqual([1, 7, 0]);
  database.isAway = true;
  expect(await shown()).toEqual([2, 7, 1]);
  stop();
});
