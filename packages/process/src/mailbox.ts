// packages/process/src/mailbox.ts
// What waits for a process: messages as they were sent, and marks for what is no message.
import { Ring } from "@carillon/kernel";
import type { Down } from "./behaviour.ts";
import type { HeldMonitor } from "./monitors.ts";

/** In a mailbox, and no message of a caller. */
export abstract class Mark {
  declare readonly isMark: true;
}

/** Holds the place in the mailbox at which a timer fired, so that earlier messages go first. */
class TimerMark extends Mark {
  readonly mark = "timer";
}
export const TIMER_MARK = new TimerMark();

export class DownMark extends Mark {
  readonly monitor: HeldMonitor;
  readonly down: Down;
  constructor(monitor: HeldMonitor, down: Down) {
    super();
    this.monitor = monitor;
    this.down = down;
  }
}

/** A call that waits; `CallMark` of calls.ts is the only one. */
export abstract class Carrier<Message extends object> extends Mark {
  abstract readonly message: Message;
}

export type Item<Message extends object> = Message | Mark;

/** Only while more than one item waits, or one in the control lane. */
export class Mailbox<Message extends object> extends Mark {
  readonly normal: Ring<Item<Message>>;
  control: Ring<Item<Message>> | undefined;
  /** Of the normal lane. */
  bytes = 0;
  constructor(limitCount: number) {
    super();
    this.normal = new Ring(limitCount);
  }
}

export function messageOf<Message extends object>(item: Item<Message>): Message | undefined {
  if (!(item instanceof Mark)) return item;
  return item instanceof Carrier ? (item.message as Message) : undefined;
}
