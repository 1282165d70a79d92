// Goal: BU10, BU11: what a member can do that was asked, or that asks with a reply subject of its own.
// Method: mallory speaks NATS without our bus, at a real server that forbids her nothing.
import { createSeededRandom } from "@carillon/kernel";
import { freePort } from "@carillon/local";
import { connect, type NatsConnection } from "nats";
import { afterEach, expect, test } from "vitest";
import { BusFixture, bytes, type TestBus, text, untilHeard } from "./test-bus.ts";

const TEST_MAX_MS = 90_000;
const REQUEST_MAX_MS = 60_000;
const fixture = new BusFixture();
afterEach(() => fixture.cleanUp());

interface Place {
  readonly ann: TestBus;
  readonly bob: TestBus;
  readonly mallory: NatsConnection;
}

async function setUp(): Promise<Place> {
  const server = await fixture.startServer(`listen: 127.0.0.1:${await freePort()}`);
  const urls = [server.clientUrl];
  // A generator without secrets shows that tokens differ by their draw, not by luck.
  const ann = await fixture.connected({ urls, random: createSeededRandom(1) });
  const bob = await fixture.connected({ urls });
  const mallory = await connect({ servers: urls });
  fixture.onCleanUp(() => mallory.close());
  return { ann, bob, mallory };
}

/** Reply subjects of what mallory is asked on `subject`, in their order. */
async function asked(mallory: NatsConnection, subject: string): Promise<string[]> {
  const replySubjects: string[] = [];
  mallory.subscribe(subject, {
    callback: (_error, message) => {
      replySubjects.push(message.reply ?? "");
      message.respond(bytes("mallory"));
    },
  });
  await mallory.flush();
  return replySubjects;
}

/** What somebody would try who has seen one token: those counted or spelt next to it. */
function guessesFrom(replySubject: string): string[] {
  const at = replySubject.lastIndexOf(".") + 1;
  const [inbox, token] = [replySubject.slice(0, at), replySubject.slice(at)];
  const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz";
  const neighbours = Array.from(DIGITS, (digit) => token.slice(0, -1) + digit);
  const numbers = Array.from({ length: 1_000 }, (_, n) => n.toString(36));
  return [token, ...neighbours, ...numbers, "*", ">"].map((guess) => inbox + guess);
}

test(
  "BU11 — a member that was asked once cannot answer the same asker's next request",
  async () => {
    const { ann, bob, mallory } = await setUp();
    const replySubjects = await asked(mallory, "ask.mallory");
    const reached = Promise.withResolvers<() => void>();
    bob.bus.subscribe("ask.bob", (message) => {
      reached.resolve(() => message.reply(bytes("bob")));
    });
    await untilHeard(ann.bus, bob.bus);
    expect(await ann.bus.request("ask.mallory", bytes("?"), REQUEST_MAX_MS)).toMatchObject({
      kind: "reply",
    });

    const answer = ann.bus.request("ask.bob", bytes("?"), REQUEST_MAX_MS);
    const bobAnswers = await reached.promise;
    expect(replySubjects).toHaveLength(1);
    for (const guess of guessesFrom(replySubjects[0]!)) mallory.publish(guess, bytes("forged"));
    await mallory.flush(); // the server has them all, before bob's answer
    bobAnswers();
    const outcome = await answer;
    expect(outcome.kind === "reply" && text(outcome.data)).toBe("bob");
  },
  TEST_MAX_MS,
);

test(
  "BU11 — no two requests share their 96 random bits, over many draws",
  async () => {
    const { ann, mallory } = await setUp();
    const replySubjects = await asked(mallory, "ask.mallory");
    const outcomes = await Promise.all(
      Array.from({ length: 1_000 }, () =>
        ann.bus.request("ask.mallory", bytes("?"), REQUEST_MAX_MS),
      ),
    );
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(["reply"]));
    const tokens = replySubjects.map((subject) => subject.split(".")[2]!);
    const secrets = tokens.map((token) => token.slice(0, 16));
    expect(new Set(secrets).size).toBe(1_000);
    expect(secrets.every((secret) => /^[\w-]{16}$/.test(secret))).toBe(true);
    expect(tokens.map((token) => token.slice(16))).toEqual(
      Array.from({ length: 1_000 }, (_, n) => (n + 1).toString(36)),
    );
  },
  TEST_MAX_MS,
);

test(
  "BU10 — a request that names another's subject for the reply is handed over, answered nowhere, and told",
  async () => {
    const { ann, bob, mallory } = await setUp();
    const victim: string[] = [];
    for (const subject of ["region.lon.directory", "_INBOXES.x", "_INBOX", "inbox._INBOX.x"])
      ann.bus.subscribe(subject, (message) => victim.push(text(message.data)));
    const done = Promise.withResolvers<void>();
    const heard: string[] = [];
    bob.bus.subscribe("ask.*", (message) => {
      heard.push(text(message.data));
      message.reply(bytes("written by bob's right"));
      if (text(message.data) === "last") done.resolve();
    });
    await Promise.all([untilHeard(ann.bus, bob.bus), untilHeard(bob.bus, ann.bus)]);
    for (const reply of ["region.lon.directory", "_INBOXES.x", "_INBOX", "inbox._INBOX.x"])
      mallory.publish("ask.bob", bytes(reply), { reply });
    const answers: string[] = [];
    mallory.subscribe("_INBOX.mallory.1", {
      callback: (_error, message) => answers.push(text(message.data)),
    });
    mallory.publish("ask.bob", bytes("last"), { reply: "_INBOX.mallory.1" });
    await done.promise;
    await untilHeard(bob.bus, ann.bus);
    await mallory.flush();
    expect(heard).toEqual([
      "region.lon.directory",
      "_INBOXES.x",
      "_INBOX",
      "inbox._INBOX.x",
      "last",
    ]);
    expect(victim).toEqual([]);
    expect(answers).toEqual(["written by bob's right"]);
    expect(bob.events.filter(({ kind }) => kind === "reply_astray")).toEqual(
      Array.from({ length: 4 }, () => ({ kind: "reply_astray", subject: "ask.*" })),
    );
  },
  TEST_MAX_MS,
);

test("BU10 — a bus whose own inboxes are elsewhere is a bug: nobody would answer it", async () => {
  const { mallory } = await setUp();
  const urls = [mallory.getServer()].map((host) => `nats://${host}`);
  await expect(fixture.connected({ urls, inboxPrefix: "MINE" })).rejects.toThrow("BU10");
});
