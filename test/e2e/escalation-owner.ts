// test/e2e/escalation-owner.ts
// An owner of chains, to be killed, which posts to webhooks as plainly as can be (the guarded sender is
// packages/channels'). Arguments: database url, member id.
import { runOwner } from "./owner-process.ts";

await runOwner({
  webhooks: {
    async post({ id, url: to, body }) {
      try {
        const headers = { "webhook-id": id };
        const { status } = await fetch(to, { method: "POST", headers, body });
        const code = `http_${status}`;
        if (status < 300) return { kind: "accepted" };
        return status === 410 ? { kind: "refused", code } : { kind: "failed", code };
      } catch {
        return { kind: "failed", code: "network" };
      }
    },
  },
});
