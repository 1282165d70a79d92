// apps/gateway/bench/fanout-clients.ts
// Child process of fanout.bench.ts: bare TCP sockets that join and count notifications.
import { connect } from "node:net";

const NEEDLE = Buffer.from('"inbox","ntf"');
let count = 0;
let toldCount = 0;

/** A masked text frame; with a mask of zeros the payload stays as it is. */
function clientFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.of(0x81, 0x80 | payload.length, 0, 0, 0, 0), payload]);
}

function open(port: number, token: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const bearer = Buffer.from(token).toString("base64url");
    socket.write(
      [
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1",
        "host: localhost",
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
        `sec-websocket-protocol: phoenix, base64url.bearer.phx.${bearer}`,
        "\r\n",
      ].join("\r\n"),
    );
    socket.once("data", () => {
      socket.write(clientFrame('["1","1","inbox","phx_join",{}]'));
      socket.once("data", () => resolve());
    });
    let rest: Buffer = Buffer.alloc(0); // a needle may be cut in two
    socket.on("data", (chunk: Buffer) => {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let from = 0;
      for (let at = bytes.indexOf(NEEDLE); at >= 0; at = bytes.indexOf(NEEDLE, from)) {
        count++;
        from = at + NEEDLE.length;
      }
      rest = bytes.subarray(Math.max(from, bytes.length - NEEDLE.length + 1));
    });
  });
}

async function openAll({ port, tokens }: { port: number; tokens: string[] }): Promise<void> {
  for (let at = 0; at < tokens.length; at += 50)
    await Promise.all(tokens.slice(at, at + 50).map((token) => open(port, token)));
  setInterval(() => {
    if (count !== toldCount) process.send?.((toldCount = count));
  }, 2);
}

process.on("message", (work: { port: number; tokens: string[] }) => void openAll(work));
