// apps/cli/src/node-webhooks.ts
// Webhooks of a node (A9, ADR 0031): its settings, tenants' secrets, and the sender as a child of its own.
//   RN15 Without a key there are no webhooks: no secret is told, nothing is posted. What an operator
//        opens for them is checked when the node starts.
import { readFileSync } from "node:fs";
import {
  checkEndpoint,
  createEndpointPolicy,
  createWebhookSender,
  deriveWebhookSecret,
  ENDPOINT_PROBLEMS,
  type EndpointPolicy,
  type WebhookOutcome,
  type WebhookPost,
  type WebhookSender,
} from "@carillon/channels";
import type { Clock } from "@carillon/kernel";
import { type ChildSpec, ownChild, ownClock } from "@carillon/process";
import type { Metrics } from "@carillon/telemetry";
import { type RegionNodeDeps, stopLimits } from "./region-node-parts.ts";
import type { WebhookSettings } from "./webhook-settings.ts";

const STATS_EVERY_MS = 1_000;

export class NodeWebhooks {
  readonly #keys: readonly string[];
  readonly #policy: EndpointPolicy;
  #sender: WebhookSender | undefined;

  /** Undefined without keys (RN15). */
  static of(settings: WebhookSettings): NodeWebhooks | undefined {
    const keys = settings.CARILLON_NODE_WEBHOOK_KEYS?.reveal().split(",");
    return keys === undefined ? undefined : new NodeWebhooks(keys, settings);
  }

  private constructor(keys: readonly string[], settings: WebhookSettings) {
    this.#keys = keys;
    this.#policy = createEndpointPolicy({
      allow: settings.CARILLON_NODE_WEBHOOK_ALLOW,
      ports: settings.CARILLON_NODE_WEBHOOK_PORTS,
    });
  }

  /** The present one first. */
  secretsOf = (tenantId: string): readonly string[] =>
    this.#keys.map((key) => deriveWebhookSecret(key, tenantId));

  /** What is wrong with an endpoint that somebody registers, as the end of a sentence. */
  endpointProblem = (url: string): string | undefined => {
    const check = checkEndpoint(url, this.#policy);
    return check.kind === "refused" ? ENDPOINT_PROBLEMS[check.problem] : undefined;
  };

  /** Never rejects; `closed` while the child does not run. */
  post = async (post: WebhookPost): Promise<WebhookOutcome> =>
    (await this.#sender?.post(post)) ?? { kind: "failed", code: "closed" };

  /** Stops after the worker: what it has under way ends first. */
  child(deps: Pick<RegionNodeDeps, "config" | "clock" | "metrics">): ChildSpec {
    const { config, metrics } = deps;
    const caPath = config.CARILLON_NODE_WEBHOOK_CA_PATH;
    return ownChild({
      id: "webhooks",
      ...stopLimits(deps),
      start: (run) => {
        const sender = createWebhookSender(
          { policy: this.#policy, ...(caPath !== "" && { ca: readFileSync(caPath, "utf8") }) },
          {
            clock: deps.clock, // a post that outlives the run still has its deadline
            secretsOf: this.secretsOf,
            onPosted(outcome, durationMs) {
              const code = outcome.kind === "accepted" ? outcome.kind : outcome.code;
              metrics.webhookPosts.inc({ outcome: code });
              metrics.webhookDuration.observe(durationMs / 1_000);
            },
          },
        );
        this.#sender = sender;
        publishCounts(sender, ownClock(run, deps.clock), metrics);
        run.onOver(() => void sender.close());
        return { stop: () => sender.close() };
      },
    });
  }
}

/** Ends with the clock's run. */
function publishCounts(sender: WebhookSender, clock: Clock, metrics: Metrics): void {
  const { running, waiting } = sender.counts();
  metrics.webhooksRunning.set(running);
  metrics.webhooksWaiting.set(waiting);
  clock.setTimer(STATS_EVERY_MS, () => publishCounts(sender, clock, metrics));
}
