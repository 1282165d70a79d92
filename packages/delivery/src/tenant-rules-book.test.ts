// Goal: TR1–TR3. Method: a register in memory whose answers are held back by hand.
import { policyRequestSchema, type PolicyRecord } from "@carillon/contracts";
import { expect, test } from "vitest";
import { type PolicyStore, TenantRulesBook } from "./tenant-rules-book.ts";

class Register implements PolicyStore {
  readonly records = new Map<string, PolicyRecord>();
  readonly asked: string[] = [];
  fault: Error | undefined;
  gate: Promise<void> | undefined;

  set(tenantId: string, countryAttribute: string, changedAtMs: number): void {
    const policy = policyRequestSchema.parse({ countryAttribute });
    this.records.set(tenantId, { policy, changedAtMs, changedIn: "fra" });
  }

  async findChanged(known: Parameters<PolicyStore["findChanged"]>[0]) {
    this.asked.push(known.map(([tenantId, atMs]) => `${tenantId}@${atMs}`).join());
    const found = [...this.records]
      .filter(
        ([id, { changedAtMs }]) => !known.some(([a, atMs]) => a === id && atMs === changedAtMs),
      )
      .map(([tenantId, record]) => ({ tenantId, record }));
    await this.gate;
    if (this.fault !== undefined) throw this.fault;
    return found;
  }

  async readRecent() {
    return [];
  }
}
const attributeOf = (book: TenantRulesBook, tenantId: string) =>
  book.rulesOf(tenantId).policy.countryAttribute;

test("TR2, TR3 — rules stay one object until the record changes; without a record they are empty", async () => {
  const register = new Register();
  const book = new TenantRulesBook(register);
  register.set("acme", "land", 1);
  expect(attributeOf(book, "acme")).toBe("country"); // not read yet
  await book.refresh();
  const rules = book.rulesOf("acme");
  expect(attributeOf(book, "acme")).toBe("land");
  register.set("other", "pays", 1);
  await book.refresh();
  expect(book.rulesOf("acme")).toBe(rules);
  expect(attributeOf(book, "other")).toBe("pays");
  expect(book.rulesOf("third")).toBe(book.rulesOf("fourth"));
  register.set("acme", "site", 2);
  await book.refresh();
  expect(attributeOf(book, "acme")).toBe("site");
  expect(register.asked).toEqual(["", "acme@1", "acme@1,other@1"]);
});

test("TR1 — who asks while one runs gets what is there after he asked, with one read for all of them", async () => {
  const register = new Register();
  const book = new TenantRulesBook(register);
  const gate = Promise.withResolvers<void>();
  register.gate = gate.promise;
  const first = book.refresh();
  register.set("acme", "land", 1); // after it was read
  const second = book.refresh();
  const third = book.refresh();
  gate.resolve();
  await first;
  expect(attributeOf(book, "acme")).toBe("country");
  await Promise.all([second, third]);
  expect(attributeOf(book, "acme")).toBe("land");
  expect(register.asked).toEqual(["", ""]);
});

test("TR3 — a refresh that fails is told, changes nothing, and the next one reads", async () => {
  const register = new Register();
  const book = new TenantRulesBook(register);
  register.set("acme", "land", 1);
  await book.refresh();
  register.set("acme", "site", 2);
  register.fault = new Error("down");
  const both = [book.refresh(), book.refresh()];
  expect((await Promise.allSettled(both)).map(({ status }) => status)).toEqual([
    "rejected",
    "rejected",
  ]);
  expect(attributeOf(book, "acme")).toBe("land");
  register.fault = undefined;
  await book.refresh();
  expect(attributeOf(book, "acme")).toBe("site");
});
