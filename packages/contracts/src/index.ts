// packages/contracts/src/index.ts
// The door: what apps, packages and browsers import.
export * from "./admin.ts";
export * from "./audience.ts";
export * from "./close-codes.ts";
export * from "./deferred.ts";
export * from "./error-codes.ts";
export * from "./explain.ts";
export * from "./group.ts";
export * from "./hash.ts";
export * from "./homes.ts";
export * from "./inbox.ts";
export * from "./limits.ts";
export * from "./locale.ts";
export * from "./messages.ts";
export * from "./notification.ts";
export * from "./phoenix.ts";
export * from "./places.ts";
export * from "./plan.ts";
export * from "./policy.ts";
export * from "./preferences.ts";
export * from "./problems.ts";
export * from "./quiet-hours.ts";
export * from "./recipient.ts";
export * from "./routing.ts";
export * from "./template.ts";
export * from "./text.ts";
export * from "./time-text.ts";
