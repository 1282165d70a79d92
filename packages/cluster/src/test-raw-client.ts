// packages/cluster/src/test-raw-client.ts
// A client that speaks NATS by hand: tests do with it what the bus never would, such as naming a
// reply subject that is no inbox.
import { createPrivateKey, sign } from "node:crypto";
import { createConnection } from "node:net";
import { natsPublicKeyOf } from "@carillon/bus";

export interface RawClient {
  write(...lines: string[]): void;
  /** All that came since the last call, until a line that holds `text`. */
  until(text: string): Promise<string>;
  close(): void;
}

/** Logs in with a user's seed (SU…). Rejects when the server closes. */
export async function connectRaw(url: string, seed: string): Promise<RawClient> {
  const { hostname, port } = new URL(url);
  const socket = createConnection({ host: hostname, port: Number(port) });
  let heard = "";
  let wanted: { text: string; resolve: (heard: string) => void } | undefined;
  let fail: (cause: Error) => void = () => undefined;
  const look = (): void => {
    if (wanted === undefined || !heard.includes(wanted.text)) return;
    wanted.resolve(heard);
    wanted = undefined;
    heard = "";
  };
  socket.setEncoding("utf8").on("data", (data) => {
    heard += String(data);
    look();
  });
  socket.on("error", (cause) => fail(cause));
  socket.on("close", () => fail(new Error(`closed: ${heard}`)));
  const until = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      wanted = { text, resolve };
      fail = reject;
      look();
    });
  const write = (...lines: string[]): void => {
    socket.write(lines.map((line) => `${line}\r\n`).join(""));
  };
  const nonce = /"nonce":"([^"]+)"/.exec(await until("\r\n"))?.[1] ?? "";
  const login = { nkey: natsPublicKeyOf(seed), sig: signed(seed, nonce) };
  write(
    `CONNECT ${JSON.stringify({ verbose: false, pedantic: false, echo: true, ...login })}`,
    "PING",
  );
  await until("PONG");
  return { write, until, close: () => void socket.destroy() };
}

const PKCS8_OF_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

function signed(seed: string, nonce: string): string {
  const key = fromBase32(seed).subarray(2, 34); // between the kind of key and the checksum
  const der = Buffer.concat([PKCS8_OF_ED25519, key]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  return sign(null, Buffer.from(nonce), privateKey).toString("base64url");
}

function fromBase32(text: string): Buffer {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = Array.from(text)
    .map((char) => alphabet.indexOf(char).toString(2).padStart(5, "0"))
    .join("");
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}
