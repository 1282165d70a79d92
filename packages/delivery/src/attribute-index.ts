// packages/delivery/src/attribute-index.ts
// Which recipients of one tenant in one partition have which attribute values and are in which groups.
//   AU1  Evaluating a filter gives exactly the members for which `matches` of the filter is true.
//   AU2  A missing attribute makes every comparison false, `ne` included; a value of another type is
//        not equal, and neither less nor greater.
//   AU3  Times are in order of time with times of their own form (`TimeText`), other text is in order
//        of its UTF-16 units with other text; a time and other text have no order. Equal is what is
//        written alike.
//   AU4  Who is in a group and who has which locale follows every change.
import type { Comparison, Filter, Scalar } from "@carillon/contracts";
import { assertNever, Bitset } from "@carillon/kernel";
import { AttributeColumn } from "./attribute-column.ts";
import { SparseSet } from "./sparse-set.ts";

type Attributes = Readonly<Record<string, unknown>>;
type Leaf = Extract<Filter, { cmp: Comparison }>;

/** Of one key. */
interface Values {
  readonly scalars: AttributeColumn;
  readonly items: Map<Scalar, SparseSet>; // elements of list attributes
  readonly withItems: Bitset;
}

interface Indexed {
  readonly locale: string | null;
  readonly attributes: Attributes;
  readonly groups: readonly string[];
}

const NOTHING: Indexed = { locale: null, attributes: {}, groups: [] };

export class AttributeIndex {
  readonly #keys = new Map<string, Values>();
  readonly #groups = new Map<string, SparseSet>(); // few in most of them
  readonly #locales = new Map<string | null, Bitset>();
  readonly #everybody = new Bitset();
  readonly #indexed: (Indexed | undefined)[] = []; // by member

  /** Everybody in the index. Not to be changed by the caller. */
  get everybody(): Bitset {
    return this.#everybody;
  }

  /** Takes over what it is given: it must not change afterwards. */
  put(member: number, now: Indexed): void {
    const before = this.#indexed[member] ?? NOTHING;
    this.#indexed[member] = now;
    this.#everybody.add(member);
    for (const key of Object.keys(before.attributes)) {
      const value = before.attributes[key];
      if (now.attributes[key] !== value) this.#remove(member, key, value);
    }
    for (const key of Object.keys(now.attributes)) {
      const value = now.attributes[key];
      if (before.attributes[key] !== value) this.#add(member, key, value);
    }
    for (const group of before.groups) this.#leave(member, group);
    for (const group of now.groups) sparseOf(this.#groups, group).add(member);
    this.#locales.get(before.locale)?.remove(member);
    setOf(this.#locales, now.locale).add(member);
  }

  /** How many of them have which locale; locales of nobody are left out. */
  localesIn(members: Bitset): [locale: string | null, count: number][] {
    return [...this.#locales]
      .map(([locale, those]): [string | null, number] => [
        locale,
        those.clone().and(members).count(),
      ])
      .filter(([, count]) => count > 0);
  }

  /** Members of a static group; a new set, the caller's own. */
  inGroup(tag: string): Bitset {
    return this.#groups.get(tag)?.toBitset() ?? new Bitset();
  }

  /** A new set, the caller's own. Cost of a comparison: the key's distinct values, and recipients. */
  select(filter: Filter): Bitset {
    if ("cmp" in filter) return this.#compare(filter);
    switch (filter.op) {
      case "and":
        return filter.nodes
          .map((node) => this.select(node))
          .reduce((left, right) => left.and(right));
      case "or":
        return filter.nodes
          .map((node) => this.select(node))
          .reduce((left, right) => left.or(right));
      case "not":
        return this.#everybody.clone().andNot(this.select(filter.nodes[0]));
      default:
        return assertNever(filter);
    }
  }

  #compare(leaf: Leaf): Bitset {
    const { scalars, items, withItems } = this.#keys.get(leaf.key) ?? NO_VALUES;
    switch (leaf.cmp) {
      case "exists":
        return scalars.present.clone().or(withItems);
      case "eq":
        return scalars.having([leaf.val]);
      case "in":
        return scalars.having(leaf.vals);
      case "ne":
        return scalars.present.clone().andNot(scalars.having([leaf.val]));
      case "contains": {
        const inLists = items.get(leaf.val)?.toBitset() ?? new Bitset();
        if (typeof leaf.val !== "string") return inLists;
        return inLists.or(scalars.withText(leaf.val, "anywhere"));
      }
      case "prefix":
        return typeof leaf.val === "string" ? scalars.withText(leaf.val, "first") : new Bitset();
      case "lt":
      case "le":
      case "gt":
      case "ge":
        return scalars.inOrder(leaf.cmp, leaf.val);
      default:
        return assertNever(leaf);
    }
  }

  #leave(member: number, group: string): void {
    const those = this.#groups.get(group);
    those?.remove(member);
    if (those?.isEmpty === true) this.#groups.delete(group);
  }

  #add(member: number, key: string, value: unknown): void {
    if (isScalar(value)) this.#valuesOf(key).scalars.set(member, value);
    else if (Array.isArray(value)) {
      const { items, withItems } = this.#valuesOf(key);
      for (const item of value.filter(isScalar)) {
        withItems.add(member);
        sparseOf(items, item).add(member);
      }
    }
  }

  #remove(member: number, key: string, value: unknown): void {
    const values = this.#keys.get(key);
    if (values === undefined) return;
    values.scalars.clear(member);
    values.withItems.remove(member);
    if (Array.isArray(value))
      for (const item of value.filter(isScalar)) values.items.get(item)?.remove(member);
  }

  #valuesOf(key: string): Values {
    let values = this.#keys.get(key);
    if (values === undefined) {
      values = newValues();
      this.#keys.set(key, values);
    }
    return values;
  }
}

function newValues(): Values {
  return { scalars: new AttributeColumn(), items: new Map(), withItems: new Bitset() };
}

/** Of a key that nobody has. Nothing is ever put into it. */
const NO_VALUES: Values = newValues();

function sparseOf<Key>(sets: Map<Key, SparseSet>, key: Key): SparseSet {
  let those = sets.get(key);
  if (those === undefined) {
    those = new SparseSet();
    sets.set(key, those);
  }
  return those;
}

function setOf<Key>(sets: Map<Key, Bitset>, key: Key): Bitset {
  let members = sets.get(key);
  if (members === undefined) {
    members = new Bitset();
    sets.set(key, members);
  }
  return members;
}

function isScalar(value: unknown): value is Scalar {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}
