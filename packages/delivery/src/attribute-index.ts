// packages/delivery/src/attribute-index.ts
// Which recipients of one tenant in one partition have which attribute values and are in which groups.
//   AU1  Evaluating a filter gives exactly the members for which `matches` of the filter is true.
//   AU2  A missing attribute makes every comparison false, `ne` included; a value of another type is
//        not equal, and neither less nor greater.
//   AU3  Times are in order of time with times of their own form (`TimeText`), other text is in order
//        of its UTF-16 units with other text; a time and other text have no order. Equal is what is
//        written alike.
//   AU4  Who is in a group and who has which locale follows every change.
// A comparison looks at the distinct values of a key, not at recipients: cheap where values repeat.
import { type Comparison, type Filter, readTimeText, type Scalar } from "@carillon/contracts";
import { assertNever, Bitset } from "@carillon/kernel";
import { Posting } from "./posting.ts";

type Attributes = Readonly<Record<string, unknown>>;
type Leaf = Extract<Filter, { cmp: Comparison }>;
type OrderLeaf = Extract<Leaf, { val: Scalar }>;

/** Of one key. */
interface Values {
  readonly scalars: Map<Scalar, Posting>;
  readonly items: Map<Scalar, Posting>; // elements of list attributes
  readonly withScalar: Bitset;
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
  readonly #groups = new Map<string, Bitset>();
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
    for (const [key, value] of Object.entries(before.attributes))
      if (now.attributes[key] !== value) this.#remove(member, key, value);
    for (const [key, value] of Object.entries(now.attributes))
      if (before.attributes[key] !== value) this.#add(member, key, value);
    for (const group of before.groups) this.#groups.get(group)?.remove(member);
    for (const group of now.groups) setOf(this.#groups, group).add(member);
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
    return this.#groups.get(tag)?.clone() ?? new Bitset();
  }

  /** A new set, the caller's own. Cost: distinct values of the keys named, or set length. */
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
    const values = this.#keys.get(leaf.key);
    if (values === undefined) return new Bitset();
    const { scalars, items, withScalar, withItems } = values;
    switch (leaf.cmp) {
      case "exists":
        return withScalar.clone().or(withItems);
      case "eq":
        return having(scalars, [leaf.val]);
      case "in":
        return having(scalars, leaf.vals);
      case "ne":
        return withScalar.clone().andNot(having(scalars, [leaf.val]));
      case "contains":
        return matching(
          scalars,
          textTest(leaf.val, (text, part) => text.includes(part)),
        ).or(having(items, [leaf.val]));
      case "prefix":
        return matching(
          scalars,
          textTest(leaf.val, (text, part) => text.startsWith(part)),
        );
      case "lt":
      case "le":
      case "gt":
      case "ge":
        return matching(scalars, orderTest(leaf));
      default:
        return assertNever(leaf);
    }
  }

  #add(member: number, key: string, value: unknown): void {
    if (!isScalar(value) && !Array.isArray(value)) return;
    const { scalars, items, withScalar, withItems } = this.#valuesOf(key);
    if (isScalar(value)) {
      withScalar.add(member);
      postingOf(scalars, value).add(member);
    } else {
      for (const item of value.filter(isScalar)) {
        withItems.add(member);
        postingOf(items, item).add(member);
      }
    }
  }

  #remove(member: number, key: string, value: unknown): void {
    const values = this.#keys.get(key);
    if (values === undefined) return;
    values.withScalar.remove(member);
    values.withItems.remove(member);
    if (isScalar(value)) removeFrom(values.scalars, value, member);
    else if (Array.isArray(value))
      for (const item of value.filter(isScalar)) removeFrom(values.items, item, member);
  }

  #valuesOf(key: string): Values {
    let values = this.#keys.get(key);
    if (values === undefined) {
      values = {
        scalars: new Map(),
        items: new Map(),
        withScalar: new Bitset(),
        withItems: new Bitset(),
      };
      this.#keys.set(key, values);
    }
    return values;
  }
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

function postingOf(postings: Map<Scalar, Posting>, value: Scalar): Posting {
  let posting = postings.get(value);
  if (posting === undefined) {
    posting = new Posting(value);
    postings.set(value, posting);
  }
  return posting;
}

/** A value that nobody has any more goes: times of a last login would pile up. */
function removeFrom(postings: Map<Scalar, Posting>, value: Scalar, member: number): void {
  const posting = postings.get(value);
  posting?.remove(member);
  if (posting?.isEmpty === true) postings.delete(value);
}

function having(postings: ReadonlyMap<Scalar, Posting>, wanted: readonly Scalar[]): Bitset {
  const found = new Bitset();
  for (const value of wanted) postings.get(value)?.addTo(found);
  return found;
}

function matching(
  postings: ReadonlyMap<Scalar, Posting>,
  isWanted: (posting: Posting) => boolean,
): Bitset {
  const found = new Bitset();
  for (const posting of postings.values()) if (isWanted(posting)) posting.addTo(found);
  return found;
}

function textTest(
  wanted: Scalar,
  isMatch: (text: string, part: string) => boolean,
): (posting: Posting) => boolean {
  if (typeof wanted !== "string") return () => false;
  return ({ value }) => typeof value === "string" && isMatch(value, wanted);
}

/** What has an order is reduced to two numbers or two texts once, before the values are looked at. */
function orderTest({ cmp, val }: OrderLeaf): (posting: Posting) => boolean {
  const time = typeof val === "string" ? readTimeText(val) : "none";
  if (typeof time === "object")
    return (posting) =>
      posting.time?.form === time.form && isInOrder(cmp, posting.time.atMs, time.atMs);
  if (typeof val === "number")
    return ({ value }) => typeof value === "number" && isInOrder(cmp, value, val);
  if (typeof val === "string")
    return (posting) =>
      typeof posting.value === "string" &&
      posting.time === undefined &&
      isInOrder(cmp, posting.value, val);
  return () => false;
}

function isInOrder<T extends number | string>(cmp: Comparison, left: T, right: T): boolean {
  if (cmp === "lt") return left < right;
  if (cmp === "le") return left <= right;
  if (cmp === "gt") return left > right;
  return left >= right;
}
