// packages/delivery/src/attribute-index.ts
// Which recipients of one tenant in one partition have which attribute values, as bitsets.
//   AU1  Evaluating a filter gives exactly the members for which `matches` of the filter is true.
//   AU2  A missing attribute makes every comparison false, `ne` included; a value of another type is
//        not equal, and neither less nor greater.
// A comparison looks at the distinct values of a key, not at recipients: cheap where values repeat.
import type { Comparison, Filter, Scalar } from "@carillon/contracts";
import { assertNever, Bitset } from "@carillon/kernel";

interface Posting {
  readonly value: Scalar;
  readonly members: Bitset;
}

interface Postings {
  readonly scalars: Map<string, Posting>;
  readonly listItems: Map<string, Posting>; // elements of list attributes
}

export class AttributeIndex {
  readonly #keys = new Map<string, Postings>();
  readonly #everybody = new Bitset();
  readonly #attributes: (Readonly<Record<string, unknown>> | undefined)[] = [];

  /** Everybody in the index. Not to be changed by the caller. */
  get everybody(): Bitset {
    return this.#everybody;
  }

  put(member: number, attributes: Readonly<Record<string, unknown>>): void {
    this.#forEachValue(this.#attributes[member] ?? {}, (members) => members.remove(member));
    this.#attributes[member] = attributes;
    this.#everybody.add(member);
    this.#forEachValue(attributes, (members) => members.add(member));
  }

  /** A new set, the caller's own. Cost: distinct values of the keys named, times set length. */
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

  #compare(filter: Extract<Filter, { cmp: Comparison }>): Bitset {
    const found = new Bitset();
    const postings = this.#keys.get(filter.key);
    if (postings === undefined) return found;
    const wanted = filter.cmp === "in" ? new Set(filter.vals.map(valueKey)) : undefined;
    for (const [key, { value, members }] of postings.scalars) {
      const isMatch = wanted === undefined ? matchesScalar(filter, value) : wanted.has(key);
      if (isMatch) found.or(members);
    }
    if (filter.cmp !== "contains" && filter.cmp !== "exists") return found;
    const element = filter.cmp === "contains" ? valueKey(filter.val) : undefined;
    for (const [key, { members }] of postings.listItems)
      if (element === undefined || element === key) found.or(members);
    return found;
  }

  #forEachValue(
    attributes: Readonly<Record<string, unknown>>,
    visit: (members: Bitset) => void,
  ): void {
    for (const [key, value] of Object.entries(attributes)) {
      if (Array.isArray(value)) {
        for (const item of value) if (isScalar(item)) visit(this.#members(key, item, "listItems"));
      } else if (isScalar(value)) visit(this.#members(key, value, "scalars"));
    }
  }

  #members(key: string, value: Scalar, kind: keyof Postings): Bitset {
    let postings = this.#keys.get(key);
    if (postings === undefined) {
      postings = { scalars: new Map(), listItems: new Map() };
      this.#keys.set(key, postings);
    }
    const name = valueKey(value);
    let posting = postings[kind].get(name);
    if (posting === undefined) {
      posting = { value, members: new Bitset() };
      postings[kind].set(name, posting);
    }
    return posting.members;
  }
}

function isScalar(value: unknown): value is Scalar {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

function valueKey(value: Scalar): string {
  return `${typeof value}:${value}`;
}

function matchesScalar(filter: Extract<Filter, { cmp: Comparison }>, value: Scalar): boolean {
  if (filter.cmp === "exists") return true;
  if (filter.cmp === "in") return filter.vals.includes(value);
  const { cmp, val } = filter;
  if (typeof val !== typeof value) return cmp === "ne"; // another type is another value
  switch (cmp) {
    case "eq":
      return value === val;
    case "ne":
      return value !== val;
    case "lt":
      return value < val;
    case "le":
      return value <= val;
    case "gt":
      return value > val;
    case "ge":
      return value >= val;
    case "contains":
      return typeof value === "string" && typeof val === "string" && value.includes(val);
    case "prefix":
      return typeof value === "string" && typeof val === "string" && value.startsWith(val);
    default:
      return assertNever(cmp);
  }
}
