// packages/delivery/src/attribute-column.ts
// The single values of one attribute key, in one partition and tenant: a dictionary of distinct values, and
// each recipient's value as its number in it. Hot: a filter is a loop over typed arrays, whether a key has
// three values or one for each recipient. Values that many have are bitsets besides, which combine faster.
// Measured (bench/RESULTS.md): an object for each distinct value is a cache miss for each, 300 ms for a
// million; numbers side by side take 2 ms.
import { readTimeText, type Scalar } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";

/** What has an order with what: values of one line only. */
export const LINES = { none: 0, number: 1, text: 2, date: 3, local: 4, instant: 5 } as const;
export type Line = (typeof LINES)[keyof typeof LINES];

/** A value's place on its line. Of text: of its first units; those that begin alike are told apart by all. */
export interface Place {
  readonly line: Line;
  readonly at: number;
}

export function placeOf(value: Scalar): Place {
  if (typeof value === "boolean") return { line: LINES.none, at: 0 };
  if (typeof value === "number") return { line: LINES.number, at: value };
  const time = readTimeText(value);
  if (typeof time === "object") return { line: LINES[time.form], at: time.atMs };
  return { line: LINES.text, at: beginningOf(value) };
}

/** Three units of 16 bits: a number that is exact, in the order of the text. */
function beginningOf(text: string): number {
  let at = 0;
  for (let unit = 0; unit < 3; unit++)
    at = at * 65_537 + (unit < text.length ? text.charCodeAt(unit) + 1 : 0);
  return at;
}

/** Above it a value has a bitset of its own. */
const MANY_MIN = 17;
/** So many bitsets are combined before a look at every recipient is quicker. */
const SETS_MAX = 32;
/** No text has it (CT8), so it can stand between texts. */
const SEPARATOR = "\u0000";
const NO_VALUE = 0;

export class AttributeColumn {
  readonly #codes = new Map<Scalar, number>();
  readonly #free: number[] = [];
  /** By code; 0 is no value. */
  readonly #values: (Scalar | undefined)[] = [undefined];
  readonly #counts: number[] = [0];
  readonly #sets: (Bitset | undefined)[] = [undefined];
  #lines = new Uint8Array(16);
  #ats = new Float64Array(16);
  #codeOf = new Uint32Array(64); // by member
  readonly #present = new Bitset();
  #texts: Texts | undefined;

  /** Who has any. Not to be changed by the caller. */
  get present(): Bitset {
    return this.#present;
  }

  set(member: number, value: Scalar): void {
    this.clear(member);
    const code = this.#codes.get(value) ?? this.#newCode(value);
    if (member >= this.#codeOf.length) this.#codeOf = grown(this.#codeOf, member + 1);
    this.#codeOf[member] = code;
    this.#present.add(member);
    const count = (this.#counts[code] ?? 0) + 1;
    this.#counts[code] = count;
    const set = this.#sets[code];
    if (set !== undefined) set.add(member);
    else if (count >= MANY_MIN) {
      const wanted = this.#newMarks();
      wanted[code] = 1;
      this.#sets[code] = this.#scan(wanted);
    }
  }

  clear(member: number): void {
    const code = this.#codeOf[member] ?? NO_VALUE;
    if (code === NO_VALUE) return;
    this.#codeOf[member] = NO_VALUE;
    this.#present.remove(member);
    this.#sets[code]?.remove(member);
    const count = (this.#counts[code] ?? 1) - 1;
    this.#counts[code] = count;
    if (count === 0) this.#forget(code); // times of a last login would pile up
  }

  /** Who has one of these; a new set. */
  having(values: readonly Scalar[]): Bitset {
    const wanted = this.#newMarks();
    for (const value of values) wanted[this.#codes.get(value) ?? NO_VALUE] = 1;
    wanted[NO_VALUE] = 0;
    return this.#marked(wanted);
  }

  /** Who has a value on the line of `than`, in that order with it; a new set. */
  inOrder(cmp: "lt" | "le" | "gt" | "ge", than: Scalar): Bitset {
    const { line, at } = placeOf(than);
    const wanted = this.#newMarks();
    if (line === LINES.none) return this.#marked(wanted);
    const [lines, ats] = [this.#lines, this.#ats];
    const isLess = cmp === "lt" || cmp === "le";
    const mayBeSame = cmp === "le" || cmp === "ge";
    for (let code = 1; code < wanted.length; code++) {
      if (lines[code] !== line) continue;
      const its = ats[code] ?? 0;
      if (its !== at) wanted[code] = its < at === isLess ? 1 : 0;
      else if (line !== LINES.text) wanted[code] = mayBeSame ? 1 : 0;
      else wanted[code] = isTextInOrder(this.#values[code], than, { isLess, mayBeSame }) ? 1 : 0;
    }
    return this.#marked(wanted);
  }

  /** Who has text with `part` in it, or at its beginning; a new set. */
  withText(part: string, where: "anywhere" | "first"): Bitset {
    this.#texts ??= textsOf(this.#values);
    const { all, codes, ends } = this.#texts;
    const wanted = this.#newMarks();
    const pattern = where === "first" ? SEPARATOR + part : part;
    let place = 0; // in `codes`
    for (let at = all.indexOf(pattern); at >= 0;) {
      while ((ends[place] ?? Infinity) <= at) place++;
      const end = ends[place];
      if (end === undefined) break;
      wanted[codes[place] ?? NO_VALUE] = 1;
      at = all.indexOf(pattern, end); // its others tell nothing new
    }
    wanted[NO_VALUE] = 0;
    return this.#marked(wanted);
  }

  #newCode(value: Scalar): number {
    const code = this.#free.pop() ?? this.#values.length;
    this.#values[code] = value;
    this.#counts[code] = 0;
    this.#sets[code] = undefined;
    this.#codes.set(value, code);
    if (code >= this.#lines.length) {
      this.#lines = grown(this.#lines, code + 1);
      this.#ats = grown(this.#ats, code + 1);
    }
    const { line, at } = placeOf(value);
    this.#lines[code] = line;
    this.#ats[code] = at;
    if (typeof value === "string") this.#texts = undefined;
    return code;
  }

  #forget(code: number): void {
    const value = this.#values[code];
    if (value !== undefined) this.#codes.delete(value);
    if (typeof value === "string") this.#texts = undefined;
    this.#values[code] = undefined;
    this.#sets[code] = undefined;
    this.#lines[code] = LINES.none;
    this.#free.push(code);
  }

  #newMarks(): Uint8Array {
    return new Uint8Array(this.#values.length);
  }

  #marked(wanted: Uint8Array): Bitset {
    const sets: Bitset[] = [];
    for (let code = 1; code < wanted.length; code++) {
      if (wanted[code] !== 1) continue;
      const set = this.#sets[code];
      if (set === undefined || sets.length === SETS_MAX) return this.#scan(wanted);
      sets.push(set);
    }
    return sets.reduce((found, set) => found.or(set), new Bitset());
  }

  #scan(wanted: Uint8Array): Bitset {
    const codeOf = this.#codeOf;
    const found = new Bitset(codeOf.length);
    for (let member = 0; member < codeOf.length; member++)
      if (wanted[codeOf[member] ?? NO_VALUE] === 1) found.add(member);
    return found;
  }
}

/** All text values of a column as one text: a search of it is one loop without an object. */
interface Texts {
  readonly all: string; // each after a separator
  readonly codes: Uint32Array; // in the order of `all`
  readonly ends: Uint32Array; // of each: where the next separator stands
}

function textsOf(values: readonly (Scalar | undefined)[]): Texts {
  const codes: number[] = [];
  const ends: number[] = [];
  const parts: string[] = [];
  let at = 0;
  for (let code = 1; code < values.length; code++) {
    const value = values[code];
    if (typeof value !== "string") continue;
    at += 1 + value.length;
    codes.push(code);
    ends.push(at);
    parts.push(value);
  }
  const all = parts.length === 0 ? "" : SEPARATOR + parts.join(SEPARATOR);
  return { all, codes: Uint32Array.from(codes), ends: Uint32Array.from(ends) };
}

/** Of two texts that begin alike. */
function isTextInOrder(
  value: Scalar | undefined,
  than: Scalar,
  { isLess, mayBeSame }: { readonly isLess: boolean; readonly mayBeSame: boolean },
): boolean {
  if (typeof value !== "string" || typeof than !== "string") return false;
  if (value === than) return mayBeSame;
  return value < than === isLess;
}

function grown<T extends Uint8Array | Uint32Array | Float64Array>(array: T, lengthMin: number): T {
  const length = Math.max(lengthMin, array.length * 2);
  const longer = new (array.constructor as new (length: number) => T)(length);
  longer.set(array);
  return longer;
}
