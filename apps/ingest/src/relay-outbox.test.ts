// Goal: IN42 of relay-outbox.ts. Method: the store's outbox as an array of what it was asked.
import type { OutboxRow } from "@carillon/store";
import { expect, test } from "vitest";
import { relayOutboxOf, type StoredOutbox } from "./relay-outbox.ts";

function rowOf(id: number, tenantId: string): OutboxRow {
  const notification = {
    id: `00000000-0000-7000-8000-00000000000${id}`,
    tenantId,
    acceptedRegion: "fra",
    acceptedAtMs: 0,
    expiresAtMs: 1,
    priority: "normal" as const,
    content: { en: { title: "t", body: "b" } },
    exclude: [],
  };
  const item = { notification, audience: { kind: "broadcast" as const } };
  return { id, attemptCount: 1, ageMs: 0, kind: "notification", item };
}

test("IN42 — each probe goes on after the last tenant of the one before, and begins anew when nobody is withheld", async () => {
  const answers = [[rowOf(3, "a"), rowOf(1, "b")], [rowOf(2, "c")], [], [rowOf(3, "a")]];
  const asked: unknown[] = [];
  const stored = {
    probe: (target: string, options: { afterTenantId: string; limitCount: number }) => {
      asked.push([target, options]);
      return Promise.resolve(answers.shift() ?? []);
    },
    release: (target: string, probes: readonly object[], limitCount: number) => {
      asked.push([target, probes, limitCount]);
      return Promise.resolve(asked.length === 2 ? 10_000 : 9_999);
    },
  };
  const outbox = relayOutboxOf(stored as unknown as StoredOutbox, "lon", "a");
  const probe = await outbox.probe();
  expect(probe.rows.map(({ outboxId }) => outboxId)).toEqual([3, 1]);
  expect(await probe.release()).toEqual({ count: 10_000, isWhole: false });
  expect(await probe.release()).toEqual({ count: 9_999, isWhole: true });
  for (let count = 0; count < 3; count++) await outbox.probe();
  const probes = [
    { id: 3, tenantId: "a" },
    { id: 1, tenantId: "b" },
  ];
  const after = (afterTenantId: string) => ["lon", { afterTenantId, limitCount: 1_024 }];
  const release = ["lon", probes, 10_000];
  expect(asked).toEqual([after(""), release, release, after("b"), after("c"), after("")]);
});
