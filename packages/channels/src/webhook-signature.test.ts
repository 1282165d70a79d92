// packages/channels/src/webhook-signature.test.ts
// Goal: WH2, and WH1 by the specification's own vector. Method: examples; the signature as a whole is
// checked by receivers' library in webhook-sender.test.ts.
import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { deriveWebhookSecret, webhookSignature } from "./webhook-signature.ts";

const KEY = "a key of the tests, 32 characters at least";

test("WH1 — the vector of the specification", () => {
  const secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
  const body = Buffer.from('{"test": 2432232314}');
  const parts = { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestampSeconds: 1_614_265_330, body };
  expect(webhookSignature(secrets, parts)).toBe("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
});

test("WH2 — the same key and tenant give the same secret, in the form that receivers take", () => {
  const secret = deriveWebhookSecret(KEY, "acme");
  expect(secret).toBe(deriveWebhookSecret(KEY, "acme"));
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/); // 32 bytes
});

test("WH2 — another tenant, another key, another use of the key: another secret", () => {
  const hmac = createHmac("sha256", KEY).update("acme").digest("base64");
  const all = [
    deriveWebhookSecret(KEY, "acme"),
    deriveWebhookSecret(KEY, "acm"),
    deriveWebhookSecret(KEY, ""),
    deriveWebhookSecret(`${KEY}.`, "acme"),
    `whsec_${hmac}`,
  ];
  expect(new Set(all).size).toBe(all.length);
});

test("WH2 — the derivation is for ever: a change of it would break every receiver", () => {
  expect(deriveWebhookSecret(KEY, "acme")).toBe(
    "whsec_GA8Ir8a0WMKwC4MN38ba3gwLrFUFET8+fqjHPa9kqyk=",
  );
});
