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
  categoryIdMaxCharacters: 64,
  /** Opt-outs of one recipient; they stand in the row, and in the owner's memory. */
  preferenceCategoriesMax: 64,
  /** A working day has one or two; more is a list made by a fault. */
  quietWindowsPerDayMax: 4,
  /** A quiet time ends for a notification so long after it was due: three weeks of holidays are a fault. */
  deferralMaxSeconds: 1_209_600, // 14 days
  /** ISO 3166-1 has 249; parts of a country count, too. */
  policyCountriesMax: 300,
  holidaysPerCountryMax: 400, // 20 a year for 20 years
  mandatoryCategoriesMax: 64,
  /** Of a tenant's policy as JSON: it travels whole to all regions, and each owner keeps it. */
  policyMaxBytes: 131_072,
  /** More are no protection; the owner's memory grows with it. */
  frequencyCapCountMax: 100,
  frequencyCapWindowMaxSeconds: 604_800, // a week
  localesMax: 32,
  /** A chain that is longer is a mistake. */
  fallbacksPerLocaleMax: 8,
  templateIdMaxCharacters: 64,
  /** As JSON: all its locales. What compiling it, once a version and node, may cost: ADR 0025. */
  templateMaxBytes: 65_536,
  /** Older versions than these are dropped at the next PUT. */
  templateVersionsKept: 100,
  templatesPageMax: 100,
  templatePatternMaxCharacters: 8_000, // of one text: its plural forms hold it several times
  /** Of one text, and how deep plural and select may stand in each other: what a render may cost. */
  templateArgumentsMax: 64,
  templateDepthMax: 8,
  /** Of numbers and times, each locale's its own: Intl takes some 0.2 ms to make a formatter. */
  templateStylesMax: 128,
  payloadNamesMax: 64,
  payloadNameMaxCharacters: 64,
  payloadTextMaxCharacters: 2_000, // as a body's: more could never be rendered
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
  /** Shorter is no time to look at a screen; longer is a task, and no notification. */
  acknowledgeWaitMinSeconds: 10,
  acknowledgeWaitMaxSeconds: 604_800, // 7 days
  escalationStepsMax: 5,
  /** All waits of a chain: with the latest row (31 days ahead, 28 of life) within what can be kept least, nearly. */
  escalationMaxSeconds: 1_209_600, // 14 days
  collapseKeyMaxCharacters: 64, // as long as APNs takes one (apns-collapse-id)
  timeMaxCharacters: 40,
  ratePerMinuteMax: 1_000_000, // all of a large home within a minute; more is as fast as it goes
  sendAtMaxSeconds: 2_678_400, // 31 days ahead: with the longest life shorter than anything is kept
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
