export {
  createInbox,
  type Inbox,
  type InboxOptions,
  type InboxState,
  type Position,
} from "./inbox.ts";
export type { Connect, SocketLike } from "./socket.ts";
export { createSharedTimers, type Timers } from "./timers.ts";
