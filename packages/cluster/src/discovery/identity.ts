// packages/cluster/src/discovery/identity.ts
// Who this machine is, from IMDSv2 (C6).
//   ID1  Every read has a token; without one the service answers 401 and nothing is guessed.
//   ID2  Region and zone are those of the identity document, never a zone without its last letter.
//   ID3  Read once: a success is kept for the life of the object, a failure is asked again.
//   ID4  Every request has a limit, and all of them together; a machine that is no EC2 instance costs
//        that, and no more.
//   ID5  Tags and lifecycle state are extra: without them the document is an identity all the same.
import type { Clock } from "@carillon/kernel";
import { fieldOf } from "./file-source.ts";

export interface InstanceIdentity {
  readonly instanceId: string;
  readonly awsRegion: string;
  readonly zone: string;
  readonly accountId: string;
  readonly privateAddress: string;
  /** Needs InstanceMetadataTags=enabled; empty otherwise, and where they could not be read. */
  readonly tags: Readonly<Record<string, string>>;
  /** Of its Auto Scaling group ("InService", "Terminated"); null: in none, or not told. */
  readonly lifecycleState: string | null;
}

export type IdentityOutcome =
  | { readonly kind: "known"; readonly identity: InstanceIdentity }
  | {
      readonly kind: "failed";
      readonly reason: "unreachable" | "refused" | "malformed";
      readonly detail: string;
    };

export interface IdentitySource {
  /** One read at a time. Never rejects. */
  identity(): Promise<IdentityOutcome>;
}

export interface IdentityOptions {
  readonly clock: Clock;
  /** Default: the link-local address of the service. */
  readonly endpoint?: string;
  readonly requestMaxMs?: number;
  readonly readMaxMs?: number; // all requests of one read
}

const ENDPOINT = "http://169.254.169.254";
const REQUEST_MAX_MS = 2_000; // it answers in a few milliseconds
const READ_MAX_MS = 10_000;
const TOKEN_TTL_SECONDS = 60; // for one read of all; the longest is 21,600
const ANSWER_MAX_CHARACTERS = 65_536;
const TAGS_MAX = 50; // EC2's own limit
const TAG = /^(?!\.)[\w+\-=.,:@]{1,128}$/; // what a key may be where the service tells tags

export function createIdentitySource(options: IdentityOptions): IdentitySource {
  let known: IdentityOutcome | undefined;
  let reading: Promise<IdentityOutcome> | undefined;
  return {
    identity() {
      if (known !== undefined) return Promise.resolve(known);
      reading ??= read(options).then((outcome) => {
        reading = undefined;
        if (outcome.kind === "known") known = outcome; // ID3
        return outcome;
      });
      return reading;
    },
  };
}

class Unanswered extends Error {
  readonly reason: "unreachable" | "refused" | "malformed";
  constructor(reason: Unanswered["reason"], detail: string) {
    super(detail);
    this.reason = reason;
  }
}

async function read(options: IdentityOptions): Promise<IdentityOutcome> {
  try {
    const endMs = options.clock.monotonicMs() + (options.readMaxMs ?? READ_MAX_MS);
    const ask = await session({ ...options, endMs });
    const document = documentOf(await ask("/latest/dynamic/instance-identity/document"));
    const tags = await orNone(tagsOf(ask), {});
    const state = await orNone(ask("/latest/meta-data/autoscaling/target-lifecycle-state"), null);
    return { kind: "known", identity: { ...document, tags, lifecycleState: state ?? null } };
  } catch (cause) {
    if (!(cause instanceof Unanswered)) throw cause;
    return { kind: "failed", reason: cause.reason, detail: cause.message };
  }
}

/** ID5. */
async function orNone<T>(reading: Promise<T>, none: T): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    if (cause instanceof Unanswered) return none;
    throw cause;
  }
}

interface Session extends IdentityOptions {
  readonly endMs: number; // of the whole read
}

/** The text at a path; undefined: 404. Throws Unanswered. */
type Ask = (path: string) => Promise<string | undefined>;

async function session(options: Session): Promise<Ask> {
  const token = await send(options, "/latest/api/token", {
    method: "PUT",
    headers: { "x-aws-ec2-metadata-token-ttl-seconds": String(TOKEN_TTL_SECONDS) },
  });
  if (token === undefined || !/^[\x21-\x7e]{1,1024}$/.test(token))
    throw new Unanswered("malformed", "no token where one was expected");
  return (path) => send(options, path, { headers: { "x-aws-ec2-metadata-token": token } }); // ID1
}

async function send(
  { clock, endpoint = ENDPOINT, requestMaxMs = REQUEST_MAX_MS, endMs }: Session,
  path: string,
  init: RequestInit,
): Promise<string | undefined> {
  const aborter = new AbortController();
  const limitMs = Math.min(requestMaxMs, Math.max(0, endMs - clock.monotonicMs())); // ID4
  const timer = clock.setTimer(limitMs, () => aborter.abort());
  try {
    const answer = await fetch(endpoint + path, {
      ...init,
      redirect: "error",
      signal: aborter.signal,
    });
    const text = await answer.text();
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw new Unanswered("refused", `${path}: status ${answer.status}`);
    if (text.length > ANSWER_MAX_CHARACTERS) throw new Unanswered("malformed", `${path}: too long`);
    return text;
  } catch (cause) {
    if (cause instanceof Unanswered) throw cause;
    const limit = aborter.signal.aborted ? `no answer within ${limitMs} ms` : String(cause);
    throw new Unanswered("unreachable", `${path}: ${limit}`);
  } finally {
    timer.cancel();
  }
}

function documentOf(text: string | undefined) {
  let document: unknown;
  try {
    document = JSON.parse(text ?? "");
  } catch {
    throw new Unanswered("malformed", "the identity document is not JSON");
  }
  const field = (name: string): string => {
    const value = fieldOf(document, name);
    if (typeof value === "string" && value !== "") return value;
    throw new Unanswered("malformed", `the identity document has no ${name}`);
  };
  return {
    instanceId: field("instanceId"),
    awsRegion: field("region"),
    zone: field("availabilityZone"),
    accountId: field("accountId"),
    privateAddress: field("privateIp"),
  };
}

async function tagsOf(ask: Ask): Promise<Record<string, string>> {
  const names = (await ask("/latest/meta-data/tags/instance")) ?? "";
  const tags: Record<string, string> = {};
  for (const name of names
    .split("\n")
    .filter((line) => TAG.test(line))
    .slice(0, TAGS_MAX)) {
    const value = await ask(`/latest/meta-data/tags/instance/${name}`);
    if (value !== undefined) tags[name] = value;
  }
  return tags;
}
