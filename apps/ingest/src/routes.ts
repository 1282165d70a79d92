// apps/ingest/src/routes.ts
// The table of routes: method, path, who may, what it takes.
import { type AdminDeps, adminRoutesOf, type Operator } from "./admin-routes.ts";
import type { Acceptor } from "./accept.ts";
import { ok } from "./answer.ts";
import type { KeyCaller, Scope } from "./api-keys.ts";
import type { Explanations } from "./explain.ts";
import type { Controls } from "./controls.ts";
import type { DirectoryRoutes } from "./directory-routes.ts";
import type { GroupRoutes } from "./group-routes.ts";
import type { FollowUps } from "./follow-ups.ts";
import type { Health } from "./health.ts";
import { gated, type HomeGate } from "./home-gate.ts";
import { homeRoutesOf } from "./home-routes.ts";
import type { Authenticated, Route } from "./http-server.ts";
import { importRecipients, type ImportDeps } from "./import.ts";
import type { Inbox } from "./inbox.ts";
import { planNotification, postNotification } from "./notification-routes.ts";
import type { Plans } from "./plan.ts";
import type { Rates } from "./rates.ts";
import type { Policies } from "./policies.ts";
import type { RecipientPreferences } from "./preferences.ts";
import type { RecipientLists } from "./recipient-lists.ts";
import type { Statuses } from "./status.ts";
import { timerRoutesOf } from "./timer-routes.ts";
import type { TemplateRoutes } from "./template-routes.ts";
import type { Employee } from "./tokens.ts";
import { readWebhookSecret, type Webhooks } from "./webhooks.ts";

type Authenticate<Caller> = (authorization: string | undefined) => Promise<Authenticated<Caller>>;

export interface RoutesDeps {
  readonly keyed: (scope: Scope) => Authenticate<KeyCaller>;
  readonly employee: Authenticate<Employee>;
  readonly acceptor: Acceptor;
  readonly directory: DirectoryRoutes;
  readonly groups: GroupRoutes;
  readonly templates: TemplateRoutes;
  readonly imports: ImportDeps;
  readonly plans: Plans;
  readonly policies: Policies;
  readonly controls: Controls;
  readonly rates: Rates;
  readonly followUps: FollowUps;
  readonly preferences: RecipientPreferences;
  readonly statuses: Statuses;
  readonly explanations: Explanations;
  readonly recipientLists: RecipientLists;
  readonly inbox: Inbox;
  readonly health: Health;
  readonly admin: AdminDeps;
  readonly home: HomeGate;
  readonly webhooks: Webhooks | undefined;
  readonly metricsText: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

/** A route whose kind of caller is its own affair. */
export type AnyRoute = Route<KeyCaller> | Route<Employee> | Route<Operator> | Route<null>;

const anybody: Authenticate<null> = () => Promise.resolve({ kind: "caller", caller: null });

export function routesOf(deps: RoutesDeps): AnyRoute[] {
  const { acceptor, directory, statuses, inbox, health } = deps;
  const keyed = (scope: Scope): Authenticate<KeyCaller> => gated(deps.home, deps.keyed(scope));
  const employee = gated(deps.home, deps.employee);
  const withKey: Route<KeyCaller>[] = [
    {
      method: "POST",
      path: "/v1/notifications",
      body: "json",
      isWrite: true,
      authenticate: keyed("notifications:write"),
      handle: (call) => postNotification(call, { acceptor, plans: deps.plans }),
    },
    {
      method: "POST",
      path: "/v1/notifications/plan",
      body: "json",
      isWrite: false,
      authenticate: keyed("notifications:write"),
      handle: (call) => planNotification(call, deps.plans),
    },
    {
      ...reading("/v1/notifications/:id"),
      authenticate: keyed("read"),
      handle: (call) => statuses.get(call),
    },
    {
      ...reading("/v1/notifications/:id/recipients"),
      authenticate: keyed("read"),
      handle: (call) => deps.recipientLists.get(call),
    },
    {
      ...reading("/v1/notifications/:id/recipients/:rid"),
      authenticate: keyed("read"),
      handle: (call) => deps.explanations.get(call),
    },
    {
      method: "PUT",
      path: "/v1/recipients/:id",
      body: "json",
      isWrite: true,
      authenticate: keyed("recipients:write"),
      handle: (call) => directory.put(call),
    },
    {
      ...reading("/v1/recipients/:id"),
      authenticate: keyed("read"),
      handle: (call) => directory.get(call),
    },
    {
      method: "POST",
      path: "/v1/recipients/import",
      body: "ndjson",
      isWrite: true,
      authenticate: keyed("recipients:write"),
      handle: (call) => importRecipients(call, deps.imports),
    },
    ...groupRoutesOf(deps.groups, keyed),
    ...policyRoutesOf(deps, keyed),
    ...controlRoutesOf(deps, keyed),
    {
      method: "POST",
      path: "/v1/notifications/:id/rate",
      body: "json",
      isWrite: true,
      authenticate: keyed("notifications:write"),
      handle: (call) => deps.rates.set(call),
    },
    ...templateRoutesOf(deps.templates, keyed),
    {
      ...reading("/v1/webhooks/secret"),
      authenticate: keyed("admin"),
      handle: (call) => Promise.resolve(readWebhookSecret(call, deps.webhooks)),
    },
    {
      method: "POST",
      path: "/v1/tokens",
      body: "json",
      isWrite: false,
      authenticate: keyed("recipients:write"),
      handle: (call) => directory.issueTokens(call),
    },
  ];
  const withToken: Route<Employee>[] = [
    {
      ...reading("/v1/inbox"),
      authenticate: employee,
      handle: (call) => inbox.get(call),
    },
  ];
  const open: Route<null>[] = [
    { ...reading("/livez"), authenticate: anybody, handle: () => health.live() },
    { ...reading("/readyz"), authenticate: anybody, handle: () => health.ready() },
    {
      ...reading("/metrics"),
      authenticate: anybody,
      async handle() {
        const { contentType, text } = await deps.metricsText();
        return ok(200, text, { "content-type": contentType });
      },
    },
  ];
  return [
    ...withKey,
    ...withToken,
    ...adminRoutesOf(deps.admin),
    ...timerRoutesOf(deps.admin),
    ...homeRoutesOf(deps.admin),
    ...open,
  ];
}

function controlRoutesOf(
  { controls, followUps }: RoutesDeps,
  keyed: (scope: Scope) => Authenticate<KeyCaller>,
): Route<KeyCaller>[] {
  const write = {
    method: "POST",
    isWrite: true,
    authenticate: keyed("notifications:write"),
  } as const;
  const states = { pause: "paused", resume: "running", cancel: "cancelled" } as const;
  const path = "/v1/notifications/:id";
  return [
    ...Object.entries(states).map(([verb, state]): Route<KeyCaller> => ({
      ...{ ...write, path: `${path}/${verb}`, body: "none" },
      handle: (call) => controls.set(call, state),
    })),
    {
      ...{ ...write, path: `${path}/recall`, body: "none" },
      handle: (call) => followUps.recall(call),
    },
    {
      ...{ ...write, path: `${path}/remind`, body: "json" },
      handle: (call) => followUps.remind(call),
    },
  ];
}

function policyRoutesOf(
  { policies, preferences }: RoutesDeps,
  keyed: (scope: Scope) => Authenticate<KeyCaller>,
): Route<KeyCaller>[] {
  const write = { method: "PUT", body: "json", isWrite: true } as const;
  const [policy, ofRecipient] = ["/v1/policy", "/v1/recipients/:id/preferences"];
  return [
    { ...reading(policy), authenticate: keyed("read"), handle: (call) => policies.get(call) },
    {
      ...write,
      path: policy,
      authenticate: keyed("admin"),
      handle: (call) => policies.put(call),
    },
    {
      ...reading(ofRecipient),
      authenticate: keyed("read"),
      handle: (call) => preferences.get(call),
    },
    {
      ...write,
      path: ofRecipient,
      authenticate: keyed("recipients:write"),
      handle: (call) => preferences.put(call),
    },
  ];
}

function groupRoutesOf(
  groups: GroupRoutes,
  keyed: (scope: Scope) => Authenticate<KeyCaller>,
): Route<KeyCaller>[] {
  const write = { isWrite: true, authenticate: keyed("recipients:write") } as const;
  const [path, members] = ["/v1/groups/:id", "/v1/groups/:id/members"];
  return [
    { ...reading(path), authenticate: keyed("read"), handle: (call) => groups.get(call) },
    { ...write, method: "PUT", path, body: "json", handle: (call) => groups.put(call) },
    { ...write, method: "DELETE", path, body: "none", handle: (call) => groups.delete(call) },
    {
      ...write,
      method: "PUT",
      path: members,
      body: "json",
      handle: (call) => groups.addMembers(call),
    },
    {
      ...write,
      method: "DELETE",
      path: members,
      body: "json",
      handle: (call) => groups.removeMembers(call),
    },
  ];
}

function templateRoutesOf(
  templates: TemplateRoutes,
  keyed: (scope: Scope) => Authenticate<KeyCaller>,
): Route<KeyCaller>[] {
  const read = keyed("read");
  const write = { isWrite: true, authenticate: keyed("notifications:write") } as const;
  const [all, path, preview] = ["/v1/templates", "/v1/templates/:id", "/v1/templates/:id/preview"];
  return [
    { ...reading(all), authenticate: read, handle: (call) => templates.list(call) },
    { ...reading(path), authenticate: read, handle: (call) => templates.get(call) },
    { ...write, method: "PUT", path, body: "json", handle: (call) => templates.put(call) },
    { ...write, method: "DELETE", path, body: "none", handle: (call) => templates.delete(call) },
    {
      method: "POST",
      path: preview,
      body: "json",
      isWrite: false,
      authenticate: read,
      handle: (call) => templates.preview(call),
    },
  ];
}

function reading(path: string) {
  return { method: "GET", path, body: "none", isWrite: false } as const;
}
