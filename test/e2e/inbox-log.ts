// test/e2e/inbox-log.ts
// An employee with our client: remembers every notification it was shown, in order.
import { createInbox, type Inbox, type InboxOptions, type Position } from "@carillon/client";
import type { NtfPayload } from "@carillon/contracts";
import { until } from "./api.ts";

export class InboxLog {
  readonly seen: NtfPayload[] = [];
  readonly seenAtMs: number[] = []; // of performance.now()
  /** Ids of what was withdrawn, and offsets of what was read elsewhere. */
  readonly withdrawn: string[] = [];
  readonly withdrawnAtMs: number[] = [];
  readonly read: number[] = [];
  resetCount = 0;
  readonly inbox: Inbox;

  constructor(
    socketUrl: string,
    token: () => Promise<string> | string,
    connect?: InboxOptions["connect"],
    /** Where an earlier one ended. */
    position?: Position,
  ) {
    this.inbox = createInbox({
      connect,
      ...(position && { position }),
      url: socketUrl,
      token,
      onNotification: (notification) => {
        this.seen.push(notification);
        this.seenAtMs.push(performance.now());
      },
      onWithdraw: ({ id }) => {
        this.withdrawn.push(id);
        this.withdrawnAtMs.push(performance.now());
      },
      onRead: ({ offset }) => void this.read.push(offset),
      onReset: () => void this.resetCount++,
    });
  }

  async live(limitMs = 30_000): Promise<void> {
    await until("the inbox is live", limitMs, () => this.inbox.state === "live" || undefined);
  }

  get titles(): string[] {
    return this.seen.map(({ title }) => title);
  }

  async has(count: number, limitMs = 30_000): Promise<void> {
    await until(
      `${count} shown, have ${this.titles.join()}`,
      limitMs,
      () => this.seen.length >= count || undefined,
    );
  }

  close(): void {
    this.inbox.close();
  }
}
