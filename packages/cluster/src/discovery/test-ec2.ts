// packages/cluster/src/discovery/test-ec2.ts
// The smallest EC2 API that the unmodified SDK takes: pages of instances, and answers that are none.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface FakeInstance {
  readonly id: string;
  /** More elements of the instance, as XML. */
  readonly xml?: string;
  readonly privateIp?: string;
  readonly role?: string; // default "nats"; "" : no tag
}

export interface FakeAnswer {
  readonly status: number;
  readonly text: string;
}

/** One page; `next` is its token for the next one. */
export function pageOf(instances: readonly FakeInstance[], next?: string): FakeAnswer {
  const items = instances.map(({ id, xml = "", privateIp, role = "nats" }) => {
    const ip = privateIp === undefined ? "" : `<privateIpAddress>${privateIp}</privateIpAddress>`;
    const tag =
      role === ""
        ? ""
        : `<tagSet><item><key>carillon:role</key><value>${role}</value></item></tagSet>`;
    return `<item><instancesSet><item><instanceId>${id}</instanceId>${ip}${tag}${xml}</item></instancesSet></item>`;
  });
  const token = next === undefined ? "" : `<nextToken>${next}</nextToken>`;
  return answerOf(`<reservationSet>${items.join("")}</reservationSet>${token}`);
}

export function answerOf(inner: string): FakeAnswer {
  const text =
    `<?xml version="1.0" encoding="UTF-8"?>\n<DescribeInstancesResponse ` +
    `xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>${inner}` +
    `</DescribeInstancesResponse>`;
  return { status: 200, text };
}

export function errorOf(status: number, code: string): FakeAnswer {
  const text =
    `<?xml version="1.0"?><Response><Errors><Error><Code>${code}</Code><Message>said so` +
    `</Message></Error></Errors><RequestID>r</RequestID></Response>`;
  return { status, text };
}

export interface FakeEc2 {
  readonly endpoint: string;
  /** Bodies of the requests, as form fields. */
  readonly asked: URLSearchParams[];
}

/** Answers by the token of the page that is asked for; ends with the test. */
export async function startFakeEc2(
  answer: (token: string | null) => FakeAnswer | "hang" | "reset",
): Promise<FakeEc2> {
  const asked: URLSearchParams[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const form = new URLSearchParams(Buffer.concat(chunks).toString());
      asked.push(form);
      const given = answer(form.get("NextToken"));
      if (given === "hang") return;
      if (given === "reset") {
        request.socket.resetAndDestroy();
        return;
      }
      response.writeHead(given.status, { "content-type": "text/xml" });
      response.end(given.text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { endpoint: `http://127.0.0.1:${port}`, asked };
}
