// Goal: what a scrape shows of a gateway (PM1). Method: scripted numbers on a fake clock.
import type { GatewayStats } from "@carillon/gateway";
import { createMetrics } from "@carillon/telemetry";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { publishGatewayStats } from "./node-telemetry.ts";

test("PM1 — a gateway that begins later, and the next one, count from their first; one that was there, from now on", async () => {
  const clock = new FakeClock();
  const metrics = createMetrics({ region: "fra", hasDefaults: false });
  const gatewayWith = (acceptedTotal: number, closedCount: number) => {
    const given: Record<string, unknown> = { acceptedTotal, closedTotal: { 1012: closedCount } };
    const stats = new Proxy(given, { get: (all, name) => all[String(name)] ?? 0 });
    return { stats: () => stats as unknown as GatewayStats };
  };
  const shown = async (event: string): Promise<number> => {
    await clock.advance(1_000);
    const { values } = await metrics.gatewayEvents.get();
    return values.find(({ labels }) => labels.event === event)?.value ?? 0;
  };
  let gateway: ReturnType<typeof gatewayWith> | undefined;
  const stop = publishGatewayStats({ gateway: () => gateway, metrics, clock });
  expect(await shown("accepted")).toBe(0);
  gateway = gatewayWith(5, 1);
  expect([await shown("accepted"), await shown("closed_1012")]).toEqual([5, 1]);
  gateway = gatewayWith(2, 0);
  expect([await shown("accepted"), await shown("closed_1012")]).toEqual([7, 1]);
  stop();
  const again = publishGatewayStats({ gateway: () => gateway, metrics, clock });
  expect(await shown("accepted")).toBe(7); // told before
  again();
});
