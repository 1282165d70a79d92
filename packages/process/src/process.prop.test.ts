// Goal: for any traffic, crash and timing: order per lane, bounds, nothing lost or doubled.
// Method: random steps against what the test itself knows was accepted.
import fc from "fast-check";
import { expect, test } from "vitest";
import { say, start, type Step } from "./harness.ts";

const SLOTS = 4;
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("send" as const),
      slot: fc.nat(SLOTS - 1),
      lane: fc.constantFrom("normal", "normal", "normal", "control" as const),
      asyncMs: fc.option(fc.integer({ min: 1, max: 90 }), { nil: undefined }),
      failures: fc.constantFrom(0, 0, 0, 1, 2, 3),
      forget: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(400) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("settle" as const) }) },
);

test("P1, P2, P14, P19, S41 — order per lane, bounds, each message handled once or handed back", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 120 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer(),
      async (steps, mailboxMax, turnMessagesMax, seed) => {
        const tries = new Map<Step, number>(); // failures to come
        const ended = new Map<number, { lane: string; id: number }[]>();
        const lanes = new Map<string, string>();
        const running = new Set<number>();
        const broken: string[] = [];
        const end = (slot: number, message: Step): void => {
          const lane = lanes.get(message.say) ?? "";
          ended.set(slot, [...(ended.get(slot) ?? []), { lane, id: Number(message.say) }]);
        };
        const { clock, runtime, table } = start({
          seed,
          limits: { mailboxMax, turnMessagesMax, controlMax: 2, crashMax: 1_000 },
          behaviour: {
            onCast: (context, message) => {
              if (running.has(context.slot)) broken.push(`two turns of ${context.slot}`);
              if (table.inspect(context.slot).waitingCount > mailboxMax + 2) broken.push("bound");
              running.add(context.slot);
              const finish = (): void => {
                running.delete(context.slot);
                const failures = tries.get(message) ?? 0;
                tries.set(message, failures - 1);
                if (failures > 0) throw new Error("try again");
                if (message.forget === true) context.state = undefined;
                end(context.slot, message);
              };
              return message.asyncMs === undefined
                ? finish()
                : clock.sleep(message.asyncMs).then(finish);
            },
            onDeadLetter: (slot, message) => end(slot, message),
          },
        });
        const accepted = new Map<number, { lane: string; id: number }[]>();
        for (const [id, one] of steps.entries()) {
          if (one.kind === "wait") await clock.advance(one.ms);
          else if (one.kind === "settle") await clock.advance(0);
          else {
            const { slot, lane, failures, forget, asyncMs } = one;
            const message = say(
              String(id),
              asyncMs === undefined ? { forget } : { forget, asyncMs },
            );
            lanes.set(message.say, lane);
            tries.set(message, failures);
            if (table.cast(slot, message, lane) === "accepted")
              accepted.set(slot, [...(accepted.get(slot) ?? []), { lane, id }]);
          }
        }
        await clock.advance(600_000);
        expect(broken).toEqual([]);
        for (const lane of ["normal", "control"])
          for (let slot = 0; slot < SLOTS; slot++)
            expect((ended.get(slot) ?? []).filter((one) => one.lane === lane)).toEqual(
              (accepted.get(slot) ?? []).filter((one) => one.lane === lane),
            );
        expect(runtime.stats()).toMatchObject({
          waitingCount: 0,
          busyCount: 0,
          queuedCount: 0,
          quarantinedCount: 0,
          timersCount: 0,
        });
      },
    ),
    { numRuns: 200 },
  );
});
