// apps/cli/src/dev/curl-lines.ts
// Three lines that work as printed in bash, one after the other. Pure.
import type { DevRegion } from "./dev-cluster.ts";

const RECIPIENT = { attributes: { department: "engineering" } };
const NOTIFICATION = {
  audience: { recipients: ["ada"] },
  content: { en: { title: "Hello Ada", body: "Your first notification" } },
};

/** Registers in the first region and posts in the last, so that the way crosses regions. */
export function curlLines(regions: readonly DevRegion[], apiKey: string): string[] {
  const first = regions[0]?.ingestUrl ?? "";
  const last = regions.at(-1)?.ingestUrl ?? "";
  const auth = `-H 'Authorization: Bearer ${apiKey}'`;
  const json = (body: object): string =>
    `-H 'Content-Type: application/json' -d '${JSON.stringify(body)}'`;
  // An answer that holds no id stays as it is, so that an error is seen.
  const idOf = `sed 's/.*"id":"\\([^"]*\\)".*/\\1/'`;
  return [
    `curl -sS -w '\\n' -X PUT ${first}/v1/recipients/ada ${auth} ${json(RECIPIENT)}`,
    `ID=$(curl -sS ${last}/v1/notifications ${auth} ${json(NOTIFICATION)} | ${idOf}); echo "$ID"`,
    `curl -sS -w '\\n' "${last}/v1/notifications/$ID" ${auth}`,
  ];
}
