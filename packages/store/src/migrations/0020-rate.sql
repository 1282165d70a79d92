-- At what rate notifications are handed, where their senders have changed it (ADR 0033): the same in every region,
-- and there before the notification itself where that is slower. No row: as it was posted.
create table notification_rate (
  notification_id uuid primary key,
  tenant_id text collate "C" not null,
  rate_per_minute int check (rate_per_minute > 0), -- null: as fast as it goes
  targeted_count bigint not null check (targeted_count > 0), -- in all regions, as counted then
  changed_at_ms bigint not null, -- grows with every change, whatever the clock says
  changed_in text collate "C" not null, -- region
  updated_at timestamptz not null default clock_timestamp() -- by this database's clock: what owners ask for
);
create index notification_rate_updated on notification_rate (updated_at);
create trigger fence before insert or update or delete or truncate on notification_rate
  for each statement execute function refuse_when_fenced();
