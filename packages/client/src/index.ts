export { createInbox } from "./inbox.ts";
export type { Inbox, InboxOptions, InboxState, Position } from "./options.ts";
export type { Connect, SocketLike } from "./socket.ts";
export { createSharedTimers, type Timers } from "./timers.ts";
