// packages/cluster/src/discovery/test-moto.ts
// moto: an EC2 API by other authors, spoken to over HTTP; and a proxy before it that breaks answers.
import { execFileSync, spawn } from "node:child_process";
import { createServer, request as sendRequest, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@carillon/kernel";
import { freePort } from "@carillon/local";

const PLACES = ["moto_server", join(homedir(), ".pyenv/shims/moto_server")];

/** The command, or undefined with a loud line: tests that need it are skipped then. */
export function findMoto(): string | undefined {
  const command = PLACES.find((place) => {
    try {
      execFileSync(place, ["--help"], { stdio: "ignore", timeout: 60_000 });
      return true;
    } catch {
      return false;
    }
  });
  if (command === undefined)
    process.stderr.write(
      "\nSKIPPED: no moto_server on PATH or in ~/.pyenv/shims: discovery is not tested against an\n" +
        "independent EC2 API. Install it: pip install 'moto[server]'\n\n",
    );
  return command;
}

export interface Moto {
  readonly endpoint: string;
  stop(): Promise<void>;
}

const START_MAX_MS = 120_000; // it imports for seconds on a busy machine

export async function startMoto(command: string): Promise<Moto> {
  const port = await freePort();
  const noImages = "MOTO_EC2_LOAD_DEFAULT_AMIS=false"; // half a second per region
  const child = spawn("env", [noImages, command, "-H", "127.0.0.1", "-p", String(port)], {
    stdio: "ignore",
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const endpoint = `http://127.0.0.1:${port}`;
  const endMs = systemClock.monotonicMs() + START_MAX_MS;
  while (!(await answers(endpoint))) {
    if (child.exitCode !== null) throw new Error("moto_server ended while it started");
    if (systemClock.monotonicMs() > endMs) {
      child.kill("SIGKILL");
      throw new Error(`moto_server does not answer within ${START_MAX_MS} ms`);
    }
    await systemClock.sleep(50);
  }
  return {
    endpoint,
    async stop() {
      child.kill("SIGKILL"); // it holds nothing
      await exited;
    },
  };
}

async function answers(endpoint: string): Promise<boolean> {
  try {
    return (await fetch(`${endpoint}/moto-api/`)).status > 0;
  } catch {
    return false;
  }
}

/** What becomes of an answer; with `page`, only of that page (1, 2, …). */
export interface PlantedFault {
  readonly kind:
    | "throttle" // 503 RequestLimitExceeded
    | "empty" // a complete answer without anybody
    | "truncated" // half of the text, as if that were all
    | "cut" // half of the text, then the connection goes away
    | "reset" // no answer, the connection is reset
    | "hang" // no answer
    | "html"; // 502 with a page for people
  readonly page?: number;
}

export interface FaultProxy {
  readonly endpoint: string;
  /** By AWS region. Taken away: undefined. */
  fault(awsRegion: string, fault: PlantedFault | undefined): void;
  /** DescribeInstances requests of a region so far. */
  askedCount(awsRegion: string): number;
  stop(): Promise<void>;
}

const THROTTLED =
  '<?xml version="1.0"?><Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request ' +
  "limit exceeded.</Message></Error></Errors><RequestID>r</RequestID></Response>";
const EMPTY =
  '<?xml version="1.0"?><DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">' +
  "<requestId>r</requestId><reservationSet/></DescribeInstancesResponse>";

/** Knows the region of a request by its signature, as AWS does. */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const faults = new Map<string, PlantedFault>();
  const pages = new Map<string, number>(); // of the list under way
  const asked = new Map<string, number>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      const scope = /Credential=[^/]+\/\d+\/([^/]+)\//.exec(request.headers.authorization ?? "");
      const region = scope?.[1] ?? "";
      const isNext = new URLSearchParams(body.toString()).has("NextToken");
      const page = isNext ? (pages.get(region) ?? 0) + 1 : 1;
      pages.set(region, page);
      asked.set(region, (asked.get(region) ?? 0) + 1);
      const planted = faults.get(region);
      const kind = planted?.page === undefined || planted.page === page ? planted?.kind : undefined;
      if (kind === "throttle") return answer(response, 503, THROTTLED);
      if (kind === "empty") return answer(response, 200, EMPTY);
      if (kind === "html") return answer(response, 502, "<html><body>Bad Gateway</body></html>");
      if (kind === "hang") return undefined;
      if (kind === "reset") return void request.socket.resetAndDestroy();
      const { method, headers } = request;
      const onward = sendRequest(target, { method, headers }, (upstream) => {
        const parts: Buffer[] = [];
        upstream.on("data", (part: Buffer) => parts.push(part));
        upstream.on("end", () => {
          const text = Buffer.concat(parts);
          const half = text.subarray(0, Math.floor(text.length / 2));
          if (kind === "truncated") return answer(response, 200, half);
          if (kind !== "cut") return answer(response, upstream.statusCode ?? 500, text);
          response.writeHead(200, { "content-type": "text/xml", "content-length": text.length });
          response.write(half, () => request.socket.destroy());
          return undefined;
        });
      });
      onward.on("error", () => request.socket.destroy());
      onward.end(body);
      return undefined;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    fault(awsRegion, fault) {
      if (fault === undefined) faults.delete(awsRegion);
      else faults.set(awsRegion, fault);
    },
    askedCount: (awsRegion) => asked.get(awsRegion) ?? 0,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(response: ServerResponse, status: number, text: string | Buffer): void {
  response.writeHead(status, {
    "content-type": "text/xml",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}
