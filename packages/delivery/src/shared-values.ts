// packages/delivery/src/shared-values.ts
// Lets equal time zones and preferences of a partition's rows be one object: each row comes from the
// database with its own, and a partition has few kinds. QuietTimes also computes once for each object.
//   DI3  A row keeps what it says; equal quiet hours are the same object.
import type { Preferences, QuietHours } from "@carillon/contracts";
import type { DirectoryRow } from "./ports.ts";

/** Of one sort. More than are in use pile up as people change theirs: then all are forgotten. */
const KEPT_MAX = 8_192;

export class SharedValues {
  readonly #timeZones = new Map<string, string>();
  readonly #preferences = new Map<string, Preferences>(); // by JSON, as the others
  readonly #quietHours = new Map<string, QuietHours>();

  /** A row of its own: what the given one holds besides can go. */
  rowOf(row: DirectoryRow): DirectoryRow {
    const { timeZone, preferences } = row;
    return {
      index: row.index,
      tenantId: row.tenantId,
      recipientId: row.recipientId,
      locale: row.locale,
      timeZone: timeZone === null ? null : shared(this.#timeZones, timeZone, timeZone),
      preferences: preferences === null ? null : this.#preferencesOf(preferences),
      attributes: row.attributes,
      groups: row.groups,
      version: row.version,
    };
  }

  #preferencesOf(preferences: Preferences): Preferences {
    const { quietHours, ...rest } = preferences;
    if (quietHours === undefined)
      return shared(this.#preferences, textOf(preferences), preferences);
    const hours = shared(this.#quietHours, textOf(quietHours), quietHours);
    return shared(this.#preferences, textOf(preferences), { ...rest, quietHours: hours });
  }
}

function shared<Value>(known: Map<string, Value>, key: string, value: Value): Value {
  const first = known.get(key);
  if (first !== undefined) return first;
  if (known.size >= KEPT_MAX) known.clear();
  known.set(key, value);
  return value;
}

/** Postgres orders the keys of jsonb: equal ones are equal as text. */
function textOf(value: unknown): string {
  return JSON.stringify(value);
}
