// packages/cluster/src/discovery/ec2-tags-source.ts
// Candidates by EC2 tags: one DescribeInstances per region, all its pages (C1).
//   DS4  One bad page, a page without its list, or a page that comes again fails the whole poll: a
//        part of the list would look like instances that have gone.
//   DS5  The SDK is loaded with the first poll, and only here. It tries once; trying again is the
//        poller's, which waits longer each time (C4).
//   DS6  A region's address is its own choice of three; an instance without one is skipped, and told.
import { assert } from "@carillon/kernel";
import type { DescribeInstancesCommandOutput, EC2Client, Instance } from "@aws-sdk/client-ec2";
import { failureOf } from "./ec2-failure.ts";
import { type Candidate, type DiscoverySource, type FindOutcome } from "./source.ts";
import { isAddress, type Skipped, sortedById } from "./source.ts";

export const ADDRESS_KINDS = ["private-ipv4", "ipv6", "public-ipv4"] as const;
export type AddressKind = (typeof ADDRESS_KINDS)[number];

export interface Ec2TagsSourceOptions {
  readonly region: string; // ours, such as "fra"
  readonly awsRegion: string; // such as "eu-central-1"
  /** Value of the tag `carillon:cluster`. */
  readonly cluster: string;
  /** One of the words of the tag `carillon:role`. Asked here, so that one call serves all roles. */
  readonly role: string;
  readonly addressKind: AddressKind;
  readonly pageSize?: number; // 5 … 1,000
  readonly connectMaxMs?: number;
  readonly requestMaxMs?: number;
  /** For tests and private endpoints; default: the region's own. */
  readonly endpoint?: string;
  /** Default: the SDK's chain (environment, files, instance role). */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export const CLUSTER_TAG = "carillon:cluster";
export const ROLE_TAG = "carillon:role";

const PAGE_SIZE = 1_000; // the API's largest
/** Four times the largest region that is planned for; a list that never ends ends here. */
const PAGES_MAX = 1_000;
const CONNECT_MAX_MS = 3_000;
const REQUEST_MAX_MS = 8_000; // of one page; the poll's own deadline is around all of them

export function createEc2TagsSource(options: Ec2TagsSourceOptions): DiscoverySource {
  const { region, pageSize = PAGE_SIZE } = options;
  assert(pageSize >= 5 && pageSize <= 1_000, "DS4 a page has 5 to 1,000 instances");
  let asking: Promise<PageOf> | undefined; // one client for all polls, made by the first (DS5)
  return {
    kind: "ec2-tags",
    region,
    async find(signal) {
      try {
        asking ??= createAsk(options).catch((cause: unknown) => {
          asking = undefined; // the next poll tries anew: a module that was not there may be by then
          throw cause;
        });
        return await findAll(await asking, { options, signal });
      } catch (cause) {
        return { kind: "failed", ...failureOf(cause, signal) };
      }
    },
  };
}

type Page = Pick<DescribeInstancesCommandOutput, "Reservations" | "NextToken">;
type PageOf = (token: string | undefined, signal: AbortSignal) => Promise<Page>;

async function createAsk(options: Ec2TagsSourceOptions): Promise<PageOf> {
  const { DescribeInstancesCommand, EC2Client: Client } = await import("@aws-sdk/client-ec2");
  const { awsRegion, endpoint, credentials, cluster, pageSize = PAGE_SIZE } = options;
  const client: EC2Client = new Client({
    region: awsRegion,
    maxAttempts: 1, // DS5
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials !== undefined && { credentials }),
    requestHandler: {
      connectionTimeout: options.connectMaxMs ?? CONNECT_MAX_MS,
      requestTimeout: options.requestMaxMs ?? REQUEST_MAX_MS,
      throwOnRequestTimeout: true, // otherwise it is only a warning, and hangs for ever
      // Polls are half a minute apart: a kept connection would often be one that the other side
      // has closed, and its reset would fail the poll.
      httpAgent: { keepAlive: false },
      httpsAgent: { keepAlive: false },
    },
  });
  const filters = [
    { Name: `tag:${CLUSTER_TAG}`, Values: [cluster] },
    { Name: "instance-state-name", Values: ["pending", "running"] },
  ];
  return (token, signal) =>
    client.send(
      new DescribeInstancesCommand({
        Filters: filters,
        MaxResults: pageSize,
        ...(token !== undefined && { NextToken: token }),
      }),
      { abortSignal: signal },
    );
}

async function findAll(
  ask: PageOf,
  { options, signal }: { options: Ec2TagsSourceOptions; signal: AbortSignal },
): Promise<FindOutcome> {
  const candidates: Candidate[] = [];
  const skipped: Skipped[] = [];
  const tokens = new Set<string>();
  for (;;) {
    const page = await ask([...tokens].at(-1), signal);
    // An HTML page or an empty body with status 200 reads as an answer without a list (tried).
    if (page.Reservations === undefined) return malformed("a page without its list");
    for (const instance of page.Reservations.flatMap((one) => one.Instances ?? [])) {
      const id = instance.InstanceId;
      if (id === undefined || id === "") return malformed("an instance without an id");
      const seen = candidateOf({ ...instance, InstanceId: id }, options);
      if (typeof seen === "string") skipped.push({ id, reason: seen });
      else candidates.push(seen);
    }
    const token = page.NextToken ?? "";
    // Never by the count: a page may have fewer than MaxResults, and none, and yet a next one.
    if (token === "")
      return {
        kind: "found",
        candidates: sortedById(candidates),
        skipped: sortedById(skipped),
        pagesCount: tokens.size + 1,
      };
    if (tokens.has(token)) return malformed("a page that refers to an earlier one");
    if (tokens.size + 1 >= PAGES_MAX) return malformed(`more than ${PAGES_MAX} pages`);
    tokens.add(token);
  }
}

function malformed(detail: string): FindOutcome {
  return { kind: "failed", reason: "malformed", detail };
}

function candidateOf(
  instance: Instance & { readonly InstanceId: string },
  { role, addressKind }: Ec2TagsSourceOptions,
): Candidate | Skipped["reason"] {
  const roles = instance.Tags?.find(({ Key }) => Key === ROLE_TAG)?.Value?.split(/[\s+,]+/) ?? [];
  if (!roles.includes(role)) return "other_role";
  const address = addressOf(instance, addressKind);
  if (address === undefined || !isAddress(address)) return "no_address";
  const zone = instance.Placement?.AvailabilityZone;
  return { id: instance.InstanceId, address, ...(zone !== undefined && { zone }) };
}

/** C7. Of several IPv6 addresses the primary one of the first interface, else the lowest. */
export function addressOf(instance: Instance, kind: AddressKind): string | undefined {
  switch (kind) {
    case "private-ipv4":
      return nonEmpty(instance.PrivateIpAddress);
    case "public-ipv4":
      return nonEmpty(instance.PublicIpAddress);
    case "ipv6": {
      const first = instance.NetworkInterfaces?.find(
        ({ Attachment }) => Attachment?.DeviceIndex === 0,
      );
      const addresses = first?.Ipv6Addresses ?? [];
      const primary = addresses.find(({ IsPrimaryIpv6 }) => IsPrimaryIpv6 === true);
      if (primary !== undefined) return nonEmpty(primary.Ipv6Address);
      const texts = addresses.flatMap(({ Ipv6Address }) => nonEmpty(Ipv6Address) ?? []);
      return texts.toSorted()[0] ?? nonEmpty(instance.Ipv6Address);
    }
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
