// packages/cluster/src/discovery/source.ts
// Where a region's nats-servers may be: one question, one outcome (spec C1–C9).
//   DS1  An error is no answer: `found` is complete, and everything else is `failed` with its reason.
//   DS2  Candidates are sorted by id, each id once; equal facts give equal answers (C8).
//   DS3  `find` settles soon after its signal is aborted, and never rejects.
// A candidate is an address to try. It is no member, and a tag is no identity (C9): servers log in
// to each other, whatever discovery says.
import type { Clock } from "@carillon/kernel";

/** One nats-server that may be there. Two with one address are told apart by their ids (C7). */
export interface Candidate {
  readonly id: string; // instance id, or what a person named it
  readonly address: string; // IPv4, IPv6 without brackets, or a host name
  readonly zone?: string;
}

/** Seen, and not a candidate: told to operators. */
export interface Skipped {
  readonly id: string;
  readonly reason: "other_role" | "no_address";
}

export type FindFailure =
  | "throttled" // asked too often: RequestLimitExceeded
  | "denied" // credentials or permissions
  | "timeout" // the deadline of the poll, or of a connection or request in it
  | "network" // reset, refused, no such name
  | "server" // the other side says that it is broken
  | "malformed" // an answer that is none: HTML, cut off, without its list, a page twice
  | "unreadable"; // file: absent, or may not be read

export type FindOutcome =
  | {
      readonly kind: "found";
      readonly candidates: readonly Candidate[];
      readonly skipped: readonly Skipped[];
      readonly pagesCount: number;
    }
  | { readonly kind: "failed"; readonly reason: FindFailure; readonly detail: string };

/** The candidates of one region. */
export interface DiscoverySource {
  readonly kind: "ec2-tags" | "static" | "file";
  readonly region: string;
  /** All of them, or why not (DS1–DS3). */
  find(signal: AbortSignal): Promise<FindOutcome>;
}

/** Around the whole poll, all pages included (C1). */
export const FIND_MAX_MS = 15_000;

/** Asks once with the deadline. A source that is deaf to its signal is not waited for. */
export async function findWithin(
  source: DiscoverySource,
  { clock, maxMs = FIND_MAX_MS, signal }: { clock: Clock; maxMs?: number; signal?: AbortSignal },
): Promise<FindOutcome> {
  const aborter = new AbortController();
  const late = Promise.withResolvers<FindOutcome>();
  const end = (detail: string): void => {
    aborter.abort();
    late.resolve({ kind: "failed", reason: "timeout", detail });
  };
  const timer = clock.setTimer(maxMs, () => end(`no complete answer within ${maxMs} ms`));
  const onAbort = (): void => end("the poll was ended");
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  try {
    return await Promise.race([source.find(aborter.signal), late.promise]);
  } catch (cause) {
    return { kind: "failed", reason: "server", detail: String(cause) }; // DS3 is broken: no answer
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", onAbort);
  }
}

/** DS2. The last one of an id counts: pages of a changing list may show one twice. */
export function sortedById<T extends { readonly id: string }>(items: Iterable<T>): T[] {
  const byId = new Map<string, T>();
  for (const item of items) byId.set(item.id, item);
  return [...byId.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

const HOST = /^(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?$/;
const IPV6 = /^[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*$/;

/** What can be the host of a route without quoting or a surprise. */
export function isAddress(text: string): boolean {
  if (text.length > 253) return false;
  return HOST.test(text) || (IPV6.test(text) && URL.canParse(`nats://[${text}]:1`));
}
