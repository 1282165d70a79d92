// test/e2e/poison-notification.ts
// Loaded before a node's own code (`--import`): what is asked of a notification of the category `poison` throws, in
// every recipient's process that handles it, as content that the product's code chokes on would have it.
interface Entry {
  readonly envelope: { readonly notification: { readonly category?: string } };
}
type VerdictOf = (partition: unknown, index: number, entry: Entry) => unknown;

const module = new URL("../../packages/delivery/src/outcomes.ts", import.meta.url);
const { Outcomes } = (await import(module.href)) as {
  Outcomes: { prototype: { verdictOf: VerdictOf } };
};
const { verdictOf } = Outcomes.prototype;

Outcomes.prototype.verdictOf = function (this: unknown, partition, index, entry) {
  if (entry.envelope.notification.category === "poison") throw new Error("planted: poison");
  return verdictOf.call(this, partition, index, entry);
};
