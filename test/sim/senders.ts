// test/sim/senders.ts
// The HR application: posts until it hears 202, each notification under one Idempotency-Key, as a
// caller must that wants it sent once.
import type { NotificationRequest } from "@carillon/contracts";
import { LIMITS, PRIORITIES } from "@carillon/contracts";
import type { SimNode } from "./node.ts";
import type { Dice, World } from "./world.ts";

export interface Post {
  readonly key: string;
  readonly region: string;
  readonly request: NotificationRequest;
  /** Homes and ids of whom it is meant for. */
  readonly expected: readonly { readonly home: string; readonly recipientId: string }[];
  readonly postedAtMs: number;
  answeredAtMs: number | undefined;
  id: string | undefined; // once it is answered 202
}

export interface Employee {
  readonly recipientId: string;
  readonly home: string;
  readonly team: string;
}

interface SendersDeps {
  readonly ingests: (region: string) => readonly SimNode[];
  /** What the next post has beside the rest. */
  readonly more?: () => Partial<NotificationRequest>;
}

export const TENANT = "acme";
const ANSWER_MAX_MS = 8_000;
const AGAIN_MS = [200, 1_500] as const;

export class Senders {
  readonly posts: Post[] = [];
  readonly #world: World;
  readonly #dice: Dice;
  readonly #employees: readonly Employee[];
  readonly #deps: SendersDeps;

  constructor(world: World, employees: readonly Employee[], deps: SendersDeps) {
    this.#world = world;
    this.#dice = world.dice("senders");
    this.#employees = employees;
    this.#deps = deps;
  }

  get isAllAnswered(): boolean {
    return this.posts.every(({ id }) => id !== undefined);
  }

  /** Posts one, of any kind, in `region`; `ttlSeconds` 0: the default. `sendAt`: an instant. */
  post(region: string, ttlSeconds = 0, sendAt?: string): Post {
    const dice = this.#dice;
    const kind = dice.pick(["one", "one", "some", "team", "all", "all but one"]);
    const some = this.#employees.filter(() => dice.isHit(0.4));
    const one = dice.pick(this.#employees);
    const audience = ((): {
      audience: NotificationRequest["audience"];
      of: readonly Employee[];
    } => {
      if (kind === "team") {
        const filter = { key: "team", cmp: "eq" as const, val: one.team };
        const of = this.#employees.filter(({ team }) => team === one.team);
        return { audience: { filter }, of };
      }
      if (kind.startsWith("all")) return { audience: { broadcast: true }, of: this.#employees };
      const of = kind === "some" && some.length > 0 ? some : [one];
      return { audience: { recipients: of.map(({ recipientId }) => recipientId) }, of };
    })();
    const excluded = kind === "all but one" ? [one.recipientId] : [];
    return this.#begin(region, { ...audience, kind, excluded, ttlSeconds, sendAt });
  }

  /** Posts one to one person. */
  postTo(region: string, recipientId: string): Post {
    const of = this.#employees.filter((employee) => employee.recipientId === recipientId);
    const audience = { recipients: [recipientId] };
    const what = { kind: "one", excluded: [], ttlSeconds: 0, sendAt: undefined };
    return this.#begin(region, { audience, of, ...what });
  }

  #begin(
    region: string,
    what: {
      readonly audience: NotificationRequest["audience"];
      readonly of: readonly Employee[];
      readonly kind: string;
      readonly excluded: readonly string[];
      readonly ttlSeconds: number;
      readonly sendAt: string | undefined;
    },
  ): Post {
    const { kind, excluded, ttlSeconds, sendAt } = what;
    const number = this.posts.length + 1;
    const post: Post = {
      key: `post-${number}`,
      region,
      request: {
        audience: what.audience,
        ...(excluded.length > 0 && { exclude: [...excluded] }),
        content: { en: { title: `Notification ${number}` } },
        priority: PRIORITIES[number % PRIORITIES.length] ?? "normal",
        ttlSeconds: ttlSeconds > 0 ? ttlSeconds : LIMITS.ttlDefaultSeconds,
        ...(sendAt !== undefined && { sendAt }),
        ...this.#deps.more?.(),
      },
      expected: what.of.filter(({ recipientId }) => !excluded.includes(recipientId)),
      postedAtMs: this.#world.nowMs,
      answeredAtMs: undefined,
      id: undefined,
    };
    this.posts.push(post);
    this.#world.trace("sender", `posts ${post.key} (${kind}) in ${region}`);
    this.#try(post);
    return post;
  }

  #try(post: Post): void {
    const world = this.#world;
    let isOver = false;
    const again = (why: string): void => {
      if (isOver) return;
      isOver = true;
      if (post.id !== undefined) return;
      world.trace("sender", `${post.key} again: ${why}`);
      world.after(this.#dice.between(...AGAIN_MS), () => this.#try(post));
    };
    const nodes = this.#deps.ingests(post.region);
    if (nodes.length === 0) return again("nobody listens");
    const node = this.#dice.pick(nodes);
    world.after(ANSWER_MAX_MS, () => again("no answer"));
    const { key, request } = post;
    const fingerprint = Buffer.from(JSON.stringify(request));
    const send = async (): Promise<void> => {
      try {
        const answer = await node.post({ tenantId: TENANT, request, key, fingerprint });
        // The answer crosses the network like everything else: it may be lost with its node.
        world.after(1, () => {
          if (isOver || !node.isAlive) return;
          if (answer === "away" || answer.kind === "problem")
            return again(answer === "away" ? "away" : answer.code);
          isOver = true;
          this.#onAnswer(post, (answer.body as { id: string }).id);
        });
      } catch (cause) {
        if (!(cause instanceof Error) || cause.name !== "Fault")
          world.violate("BUG", `accept threw ${String(cause)}`);
        again(cause instanceof Error ? cause.message : "fault");
      }
    };
    world.after(1, () => void send(), node.machine);
  }

  #onAnswer(post: Post, id: string): void {
    if (post.id !== undefined && post.id !== id)
      this.#world.violate("D2", `${post.key} was accepted as ${post.id} and as ${id}`);
    this.#world.trace("sender", `${post.key} is ${id.slice(-6)}`);
    post.id = id;
    post.answeredAtMs ??= this.#world.nowMs;
  }
}
