// apps/cli/src/agent/test-aws.ts
// The two services of AWS that an agent asks, as small as they can be: EC2 by the region in the
// signature, and the instance metadata with its token.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface FakeAws {
  readonly url: string;
  /** Addresses of instances by AWS region; undefined: the API hangs. */
  has(awsRegion: string, addresses: readonly string[] | undefined): void;
  stop(): Promise<void>;
}

const DOCUMENT = {
  accountId: "123456789012",
  availabilityZone: "eu-central-1a",
  instanceId: "i-00000000000000001",
  privateIp: "127.0.0.1",
  region: "eu-central-1",
};

export async function startFakeAws(): Promise<FakeAws> {
  const instances = new Map<string, readonly string[] | undefined>();
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    if (path.startsWith("/latest/")) return metadata(request, response);
    const scope = /Credential=[^/]+\/\d+\/([^/]+)\//.exec(request.headers.authorization ?? "");
    const awsRegion = scope?.[1] ?? "";
    request.resume();
    const addresses = instances.has(awsRegion) ? instances.get(awsRegion) : [];
    if (addresses === undefined) return undefined;
    response.writeHead(200, { "content-type": "text/xml" }).end(listOf(addresses));
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    has: (awsRegion, addresses) => void instances.set(awsRegion, addresses),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function metadata({ method, url, headers }: IncomingMessage, response: ServerResponse): void {
  const end = (status: number, text = ""): void => void response.writeHead(status).end(text);
  if (method === "PUT" && url === "/latest/api/token") return end(200, "token");
  if (headers["x-aws-ec2-metadata-token"] !== "token") return end(401);
  return url === "/latest/dynamic/instance-identity/document"
    ? end(200, JSON.stringify(DOCUMENT))
    : end(404);
}

function listOf(addresses: readonly string[]): string {
  const items = addresses.map(
    (address) =>
      `<item><instancesSet><item><instanceId>i-${address.replaceAll(".", "-")}</instanceId>` +
      `<privateIpAddress>${address}</privateIpAddress><tagSet><item><key>carillon:role</key>` +
      `<value>nats</value></item></tagSet></item></instancesSet></item>`,
  );
  return (
    '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">' +
    `<requestId>r</requestId><reservationSet>${items.join("")}</reservationSet>` +
    "</DescribeInstancesResponse>"
  );
}
