// packages/contracts/src/limits.ts
// Every limit that a caller can meet, with the reason for the number.

export const LIMITS = {
  /** Fixed when a home region's database is created (DESIGN §4). */
  partitionCount: 256,
  /** One JSON body; imports stream instead (A13). */
  bodyMaxBytes: 1_048_576,
  /** Explicit recipients of one notification (A2). More is a group or a filter. */
  recipientsMax: 10_000,
  excludeMax: 10_000,
  recipientIdMaxCharacters: 128,
  groupIdMaxCharacters: 64,
  groupNameMaxCharacters: 200,
  /** People named in one change of a group's members: as many as in one notification. */
  groupMembersPerRequestMax: 10_000,
  /** They stand in the recipient's row, and in its owner's memory. */
  groupsPerRecipientMax: 128,
  excludeGroupsMax: 32,
  attributeCountMax: 64,
  attributeKeyMaxCharacters: 64,
  attributeTextMaxCharacters: 512,
  attributeListMax: 64,
  filterDepthMax: 8,
  filterNodesMax: 256,
  filterValuesMax: 1_000,
  localesMax: 32,
  timerPayloadMaxCharacters: 16_384, // of JSON: some thousand index numbers
  titleMaxCharacters: 200,
  bodyMaxCharacters: 2_000,
  /** Web Push fits 3,993 bytes of plaintext (N6): title, body and data of one locale together. */
  contentMaxBytes: 2_700,
  dataKeysMax: 32,
  dataKeyMaxCharacters: 64,
  dataTextMaxCharacters: 512,
  linkMaxCharacters: 2_048,
  idempotencyKeyMaxCharacters: 255,
  idempotencyTtlSeconds: 86_400,
  ttlDefaultSeconds: 604_800,
  ttlMaxSeconds: 2_419_200, // four weeks, the longest that push services keep (RFC 8030 §5.2)
  importLineMaxBytes: 65_536,
  importRejectsReported: 100,
  /** Wrong fields named in one answer: enough to mend a request, small whatever was sent. */
  fieldErrorsReported: 50,
  tokensPerRequestMax: 1_000,
  /** At most this many index numbers are stored as an array; more is a bitset (DESIGN §5). */
  smallAudienceMax: 32,
  /** Ids of one page of the people in a state. */
  recipientsPageMax: 1_000,
  /** Of one story: some hundred resends of ten sessions fit. */
  explainEventsMax: 500,
  /** A longer tail is not recovered: the client reloads over HTTP (W2). */
  recoveryMax: 1_000,
  /** WebSocket (W1, W8). */
  inboundFrameMaxBytes: 65_536,
  topicsPerSocketMax: 100,
  socketsPerRecipientMax: 10,
  inboundMessagesPerSecond: 20,
  authenticationMaxMs: 10_000,
  joinMaxMs: 10_000,
  silenceMaxMs: 60_000,
  /** Per socket, outbound (W6). */
  outboundMaxBytes: 1_048_576,
} as const;
