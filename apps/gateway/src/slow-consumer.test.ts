// Goal: GW21 (W6): a client that stops reading is closed with 4008 and loses nothing; the others
// do not notice. Method: a real socket that is paused, larger than what the kernel buffers.
import { afterEach, expect, test, vi } from "vitest";
import { type Fixture, recipientsOfOnePartition, startFixture } from "./testing/gateway-fixture.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 60_000, interval: 5 });
const BIG = "x".repeat(60_000);
let fixture: Fixture;
afterEach(() => fixture.stop());

test("GW21 — too many bytes wait: 4008, the others get everything, a rejoin resumes", async () => {
  fixture = await startFixture({ limits: { closeMaxMs: 200, sweepEveryMs: 50 } });
  const [slowId = "", quickId = ""] = recipientsOfOnePartition(2);
  const [slow, quick] = [
    await fixture.connect({ recipientId: slowId }),
    await fixture.connect({ recipientId: quickId }),
  ];
  for (const client of [slow, quick]) client.join();
  await until(() =>
    expect([slow, quick].map((c) => c.reply("1")?.["status"])).toEqual(["ok", "ok"]),
  );
  slow.ws.pause();
  let posted = 0;
  while (fixture.gateway.stats().closedTotal[4008] === undefined) {
    posted = fixture.owner.post([slowId, quickId], { id: `n${posted}`, title: BIG });
    await until(() => expect(quick.offsets.length).toBe(posted)); // the others go on
    if (posted > 1_000) throw new Error("60 MB and still open");
    if (posted % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 60)); // a sweep
  }
  slow.ws.resume();
  await slow.closed;
  const received = slow.offsets.length;
  expect(slow.offsets).toEqual(Array.from({ length: received }, (_, index) => index + 1));
  const again = await fixture.connect({ recipientId: slowId });
  again.join({ offset: received, epoch: "e1" });
  await until(() => expect(received + again.offsets.length).toBe(posted));
  expect(again.offsets[0]).toBe(received + 1);
});

test("GW21 — bytes that wait and do not leave for outboundMaxMs: 4008", async () => {
  fixture = await startFixture({
    limits: { outboundMaxBytes: 2 ** 30, outboundMaxMs: 300, closeMaxMs: 200, sweepEveryMs: 50 },
  });
  const slow = await fixture.connect();
  slow.join();
  await until(() => expect(slow.reply("1")?.["status"]).toBe("ok"));
  slow.ws.pause();
  for (let count = 0; count < 300; count++) fixture.owner.post(["anna"], { title: BIG });
  await until(() => expect(fixture.gateway.stats().closedTotal).toEqual({ 4008: 1 }));
});
