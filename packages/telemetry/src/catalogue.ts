// packages/telemetry/src/catalogue.ts
// Every metric, declared once: name, kind, help, closed labels (STYLE §6). No label is an id.

export interface MetricSpec {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly buckets?: readonly number[];
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

function counter<const L extends string = never>(
  name: string,
  help: string,
  labels: readonly L[] = [],
) {
  return { kind: "counter", name, help, labels } as const;
}
function gauge<const L extends string = never>(
  name: string,
  help: string,
  labels: readonly L[] = [],
) {
  return { kind: "gauge", name, help, labels } as const;
}
function histogram<const L extends string = never>(
  name: string,
  help: string,
  labels: readonly L[] = [],
) {
  return { kind: "histogram", name, help, labels, buckets: SECONDS } as const;
}

/** Whose processes: `worker`, the recipients'; `gateway`, the sessions'. */
const RUNTIME = ["runtime"] as const;

export const CATALOGUE = {
  // ingest
  httpRequests: counter("carillon_http_requests_total", "HTTP requests answered", [
    "route",
    "status",
  ]),
  httpDuration: histogram("carillon_http_request_duration_seconds", "Time to answer", ["route"]),
  notifications: counter(
    "carillon_ingest_notifications_total",
    "Posted notifications by what became of the request",
    ["outcome"],
  ),
  commits: counter("carillon_ingest_commits_total", "Group commits"),
  commitItems: counter("carillon_ingest_commit_items_total", "Notifications in group commits"),
  commitDuration: histogram("carillon_ingest_commit_duration_seconds", "Time of a group commit"),
  pokes: counter("carillon_ingest_pokes_total", "Ledger rows told to owners", ["outcome"]),
  relayItems: counter("carillon_relay_items_total", "Outbox rows sent to regions", ["outcome"]),
  relayBacklogs: gauge("carillon_relay_backlog_links_count", "Regions that are behind"),
  outboxAge: gauge("carillon_outbox_oldest_age_seconds", "Age of the oldest row not confirmed"),
  refusedRequests: counter(
    "carillon_region_requests_refused_total",
    "Requests of other regions not served",
    ["reason"],
  ),
  oddities: counter("carillon_oddities_total", "Survived, but to be looked at", ["event"]),
  failures: counter("carillon_failures_total", "Dependencies that broke, and bugs", ["component"]),
  // retention
  retentionParts: counter(
    "carillon_retention_parts_total",
    "Parts of tables that were added ahead of their time, and dropped after it",
    ["change"],
  ),
  retentionPartsKept: gauge("carillon_retention_parts_count", "Parts that tables have", ["table"]),
  retentionPartsHeld: gauge(
    "carillon_retention_parts_held_count",
    "Parts over their time that stay: a row in them is not closed, or is named by one that is kept",
    ["table"],
  ),
  retentionRows: counter("carillon_retention_rows_total", "Rows over their time, deleted", [
    "table",
  ]),
  retentionRest: gauge(
    "carillon_retention_rest_rows_count",
    "Rows for which there was no part, counted up to 10,000 of a table",
  ),
  retentionAhead: gauge(
    "carillon_retention_ahead_seconds",
    "So far ahead there are parts of tables after the last sweep: a part's days at least, unless a lock was in the way",
  ),
  // worker
  partitionsServed: gauge("carillon_worker_partitions_count", "Partitions served"),
  leaseAge: gauge(
    "carillon_worker_lease_age_seconds",
    "Since the leases were refreshed; given up at 8",
  ),
  partitionsLost: counter("carillon_worker_partitions_lost_total", "Partitions given up", [
    "reason",
  ]),
  partitionMoves: counter(
    "carillon_worker_partition_moves_total",
    "Partitions taken, and given to other members in order",
    ["direction"],
  ),
  handovers: histogram(
    "carillon_worker_handover_seconds",
    "A partition's time from its last owner's end to its next owner's lease",
  ),
  sessions: gauge("carillon_worker_sessions_count", "Sessions known to owners"),
  recipients: gauge("carillon_worker_recipients_count", "Recipients in the indexes"),
  openEntries: gauge("carillon_worker_open_entries_count", "Ledger rows with somebody pending"),
  incomingEntries: gauge("carillon_worker_incoming_entries_count", "Ledger rows that wait"),
  heldEntries: gauge(
    "carillon_worker_held_entries_count",
    "Ledger rows not handed to all of their recipients yet",
  ),
  ratedEntries: gauge(
    "carillon_worker_rated_entries_count",
    "Ledger rows that wait for their notification's rate",
  ),
  ratesRefused: counter(
    "carillon_worker_rates_refused_total",
    "Looks at ledger rows that are handed without their rate, as too many of their partition wait",
  ),
  shelvedRecipients: gauge(
    "carillon_worker_shelved_recipients_count",
    "Recipients with more open rows of their own than memory holds of one",
  ),
  dirtyEntries: gauge("carillon_worker_dirty_entries_count", "Ledger rows not written yet"),
  outcomes: counter("carillon_worker_outcomes_total", "Terminal outcomes", ["outcome"]),
  receipts: counter("carillon_worker_receipts_total", "Receipts", ["receipt"]),
  flushes: histogram("carillon_worker_ledger_flush_duration_seconds", "Time of a ledger flush"),
  flushedRows: counter("carillon_worker_ledger_rows_flushed_total", "Ledger rows written"),
  plans: counter("carillon_worker_plans_total", "Audiences counted for plans", ["outcome"]),
  plansRunning: gauge("carillon_worker_plans_running_count", "Audiences being counted"),
  deliverMessages: counter("carillon_worker_deliver_messages_total", "Messages to gateways", [
    "outcome",
  ]),
  acceptToAck: histogram(
    "carillon_accept_to_ack_seconds",
    "From accept to the acknowledgement of the first session, wall clocks of two nodes",
  ),
  timers: counter("carillon_worker_timers_total", "Durable timers fired, failed and given up", [
    "event",
  ]),
  timersFiring: gauge(
    "carillon_worker_timers_firing_count",
    "Durable timers that are due, claimed and not done; 1,024 at most",
  ),
  timerLateness: histogram(
    "carillon_worker_timer_lateness_seconds",
    "From a durable timer's due time, by the database's clock, until it was fired",
  ),
  journalEvents: counter(
    "carillon_worker_journal_events_total",
    "Events of the journal written, and dropped at its limit or refused by the database",
    ["outcome"],
  ),
  journalWaiting: gauge(
    "carillon_worker_journal_waiting_events_count",
    "Events of the journal not written yet; 65,536 at most",
  ),
  webhookPosts: counter(
    "carillon_webhook_posts_total",
    "Webhooks posted, by what became of the attempt",
    ["outcome"],
  ),
  webhookDuration: histogram(
    "carillon_webhook_post_duration_seconds",
    "Time of a webhook's attempt, waiting for its turn included",
  ),
  webhooksRunning: gauge("carillon_webhook_posts_running_count", "Webhooks under way; 256 at most"),
  webhooksWaiting: gauge(
    "carillon_webhook_posts_waiting_count",
    "Webhooks that wait for their turn; 1,024 at most",
  ),
  boundedItems: gauge(
    "carillon_worker_bounded_items_count",
    "What the structures of the delivery engine hold; their limits are below",
    ["structure"],
  ),
  boundedRefused: counter(
    "carillon_worker_bounded_refused_total",
    "What was refused, forgotten or put off at such a limit",
    ["structure"],
  ),
  messagesMalformed: counter("carillon_messages_malformed_total", "Dropped messages", ["subject"]),
  // processes
  processesResident: gauge("carillon_process_resident_count", "Processes with a state", RUNTIME),
  processesQuarantined: gauge(
    "carillon_process_quarantined_count",
    "Processes in quarantine",
    RUNTIME,
  ),
  processesWaiting: gauge(
    "carillon_process_mailbox_messages_count",
    "Messages in mailboxes",
    RUNTIME,
  ),
  processCrashes: counter("carillon_process_crashes_total", "Crashes of processes", RUNTIME),
  processDeadLetters: counter("carillon_process_dead_letters_total", "Messages given up", RUNTIME),
  processRefused: counter(
    "carillon_process_refused_total",
    "Messages a full mailbox refused",
    RUNTIME,
  ),
  processTablesPaused: gauge(
    "carillon_process_paused_tables_count",
    "Partitions that pause since too many of their processes crashed",
    RUNTIME,
  ),
  processLoadsWaiting: gauge(
    "carillon_process_loads_waiting_count",
    "Processes that wait until fewer load",
    RUNTIME,
  ),
  processEvents: counter(
    "carillon_process_events_total",
    "What became of messages, calls and restarts",
    [...RUNTIME, "event"],
  ),
  longestTurn: gauge(
    "carillon_process_longest_turn_seconds",
    "Longest turn since the last look",
    RUNTIME,
  ),
  eventLoopStalls: counter(
    "carillon_event_loop_stalls_total",
    "Times that the node's thread was held for a second or longer",
  ),
  supervisorRestarts: counter(
    "carillon_supervisor_restarts_total",
    "Parts of a node that were started again",
    ["supervisor", "child"],
  ),
  // gateway
  sockets: gauge("carillon_gateway_sockets_count", "Open sockets"),
  gatewaySessions: gauge("carillon_gateway_sessions_count", "Joined inboxes"),
  gatewayEvents: counter("carillon_gateway_events_total", "What the gateway counts", ["event"]),
  gatewayBufferedBytes: gauge(
    "carillon_gateway_buffered_bytes",
    "Bytes that wait for slow sockets",
  ),
  gatewayRefusedSockets: gauge(
    "carillon_gateway_refused_sockets_count",
    "Open sockets whose token was refused",
  ),
  gatewayRelieved: gauge(
    "carillon_gateway_relieved_count",
    "1 while clients are sent elsewhere: without NATS, and others have taken the node's partitions",
  ),
  gatewayReportsWaiting: gauge(
    "carillon_gateway_reports_waiting_count",
    "Acks and closed sessions that owners were not told yet, and receipts that they have not confirmed",
  ),
  // home
  homeEpoch: gauge("carillon_home_epoch_count", "Epoch of the home in this node's database"),
  homeServing: gauge("carillon_home_serving_count", "1 while this node serves its home"),
  homeStreaming: gauge(
    "carillon_home_streaming_count",
    "1 while this node's database follows its primary; 0 also where it is the primary",
  ),
  homeReplayLag: gauge(
    "carillon_home_replay_lag_seconds",
    "How far a copy may be behind; NaN: not known, 0 also where there is no copy",
  ),
  homeClaimsRefused: counter(
    "carillon_home_claims_refused_total",
    "Claims of homes that were malformed, or of regions that are none here",
  ),
  // membership
  members: gauge("carillon_members_count", "Members of all regions as seen here", ["state"]),
  memberChanges: counter(
    "carillon_member_changes_total",
    "Members that joined, left, were suspect, returned or were forgotten",
    ["change"],
  ),
  isolated: gauge("carillon_node_isolated_count", "1 while without NATS for 8 s or longer"),
  // router
  routeSends: counter(
    "carillon_route_sends_total",
    "Recipients that a message without an answer was sent to",
    ["outcome"],
  ),
  routeCalls: counter("carillon_route_calls_total", "Calls to recipients", ["outcome"]),
  routeCallsOpen: gauge("carillon_route_calls_open_count", "Calls that are not answered yet", [
    "side",
  ]),
  routeArrivals: counter(
    "carillon_route_arrivals_total",
    "Recipients' messages and calls that reached a worker",
    ["outcome"],
  ),
  // bus
  busEvents: counter(
    "carillon_bus_events_total",
    "Reconnects, refusals; peer_silent, link_silent: unanswered; reply_astray: asked without an inbox",
    ["event"],
  ),
  busConnected: gauge("carillon_bus_connected_count", "1 while the connection stands"),
  // discovery
  discoveryCandidates: gauge(
    "carillon_discovery_candidates_count",
    "Candidates of a region that the last complete answer had, and that are held without it",
    ["of_region", "state"],
  ),
  discoveryAge: gauge(
    "carillon_discovery_answer_age_seconds",
    "Since the last complete answer of a region; absent while there was none",
    ["of_region"],
  ),
  discoveryPolls: counter("carillon_discovery_polls_total", "Polls of a region by their end", [
    "of_region",
    "outcome",
  ]),
  discoveryDecisions: counter(
    "carillon_discovery_decisions_total",
    "Peers added, moved, held or dropped by an answer",
    ["of_region", "decision"],
  ),
  natsReloads: counter(
    "carillon_nats_reloads_total",
    "Changes of nats.conf by what became of them",
    ["outcome"],
  ),
  natsConfRefused: gauge(
    "carillon_nats_conf_refused_count",
    "1 while nats-server has refused the last change of nats.conf",
  ),
  natsConfUnconfirmed: gauge(
    "carillon_nats_conf_unconfirmed_count",
    "1 while nobody can tell whether nats-server took nats.conf: its monitoring does not answer",
  ),
  natsGatewayFrozen: gauge(
    "carillon_nats_gateway_frozen_count",
    "1 while the gateway part of nats.conf waits for a restart of nats-server",
  ),
} as const satisfies Record<string, MetricSpec>;

export type MetricName = keyof typeof CATALOGUE;

/** Rows of docs/metrics.md. */
export function catalogueTable(): string {
  const rows = Object.values<MetricSpec>(CATALOGUE).map(
    ({ name, kind, labels, help }) => `| \`${name}\` | ${kind} | ${labels.join(", ")} | ${help} |`,
  );
  return ["| Metric | Kind | Labels | What |", "|---|---|---|---|", ...rows].join("\n");
}
