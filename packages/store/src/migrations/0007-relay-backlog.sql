-- Target regions whose notifications go out from the outbox only, oldest first, by one node (ADR 0016). A
-- row is there from the first failure until nothing waits; the group commit reads which there are.
create table relay_backlog (
  target_region text collate "C" primary key,
  holder text not null, -- the node that drains it; '': nobody
  held_until timestamptz not null, -- another node may hold it after this
  since timestamptz not null default now()
);
create trigger fence before insert or update or delete or truncate on relay_backlog
  for each statement execute function refuse_when_fenced();

-- Notifications of one target in order; what goes out of turn (homes, and what was put off) by its time.
create index outbox_waiting on outbox (target_region, id)
  where kind = 'notification' and attempt_count = 0;
drop index outbox_due;
create index outbox_due on outbox (target_region, next_attempt_at)
  where kind = 'homes' or attempt_count > 0;
