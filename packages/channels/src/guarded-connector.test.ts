// packages/channels/src/guarded-connector.test.ts
// Goal: SG6. Method: the connector as undici calls it, with a policy that changes its mind, since
// nothing else can make the second look differ from the first.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createEndpointPolicy, type EndpointPolicy } from "./index.ts";
import { createGuardedConnector } from "./guarded-connector.ts";
import { CA, HOST, type Receiver, startReceiver } from "./test-receiver.ts";

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.close());

const OPEN = createEndpointPolicy({ allow: ["127.0.0.1"], ports: "any" });
const STRICT = createEndpointPolicy({ ports: "any" });

/** What undici is told: "open", or the error's name. */
function dial(policy: EndpointPolicy, hostname: string): Promise<string> {
  const resolve = (): Promise<string[]> => Promise.resolve(["127.0.0.1"]);
  const times = { timeoutMs: 10_000, addressTimeoutMs: 1_000 };
  const connect = createGuardedConnector({ policy, resolve, ...times, ca: CA });
  const target = { hostname, host: hostname, protocol: "https:", port: String(receiver.port) };
  return new Promise((told) => {
    connect(target, (error, socket) => {
      told(error === null ? "open" : error.name);
      socket?.destroy();
    });
  });
}

test("SG6 — a literal is asked for here, since sockets resolve none", async () => {
  const before = receiver.connectionsCount();
  for (const literal of ["127.0.0.1", "::1", "[::1]", "::ffff:127.0.0.1", "[::ffff:7f00:1]"])
    expect(await dial(STRICT, literal)).toBe("EndpointRefused");
  expect(receiver.connectionsCount()).toBe(before);
  expect(await dial(OPEN, "127.0.0.1")).toBe("open");
});

test("SG6 — what the socket is connected to is asked for once more", async () => {
  const asked: string[] = [];
  const fickle: EndpointPolicy = {
    ...OPEN,
    mayConnect: (address, host) => asked.push(`${host} ${address}`) === 1,
  };
  expect(await dial(fickle, HOST)).toBe("EndpointRefused");
  expect(asked).toEqual([`${HOST} 127.0.0.1`, `${HOST} 127.0.0.1`]);
  expect(await dial(OPEN, HOST)).toBe("open");
});
