// apps/ingest/src/test-people.ts
// Regions with people in them, for tests over real NATS: a region hears the others some time after it has started, and
// a recipient of another region can be put only then.
import {
  ask,
  type NodeOptions,
  startRegions,
  type TestNode,
  type TestRegions,
  until,
} from "./test-regions.ts";

interface Person {
  readonly at: TestNode; // that is asked
  readonly recipientId: string;
  readonly body: { readonly homeRegion: string } & Readonly<Record<string, unknown>>;
}

/** Puts them, again until all of them are where they belong. */
export async function putPeople(
  { apiKey }: Pick<TestRegions, "apiKey">,
  people: readonly Person[],
): Promise<void> {
  const put = async ({ at, recipientId, body }: Person): Promise<boolean> => {
    const url = `${at.url}/v1/recipients/${encodeURIComponent(recipientId)}`;
    return (await ask(url, { method: "PUT", token: apiKey, body })).status < 300;
  };
  await until("the gateways are up", async () => {
    const arePut = await Promise.all(people.map(put));
    return arePut.every(Boolean);
  });
}

/** fra and lon; each of the people is put through the region that is not his. */
export async function startFraAndLon(
  people: Readonly<Record<string, Person["body"]>>,
  options: NodeOptions = {},
): Promise<{ readonly regions: TestRegions; readonly fra: TestNode; readonly lon: TestNode }> {
  const regions = await startRegions(["fra", "lon"]);
  const fra = await regions.startNode("fra", options);
  const lon = await regions.startNode("lon", options);
  const all = Object.entries(people).map(([recipientId, body]) => {
    return { at: body.homeRegion === "fra" ? lon : fra, recipientId, body };
  });
  await putPeople(regions, all);
  return { regions, fra, lon };
}
