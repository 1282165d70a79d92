-- What senders do with notifications under way (ADR 0029): the same in every region, and there before the
-- notification itself where that is slower. No row: it runs.
create table notification_control (
  notification_id uuid primary key,
  tenant_id text collate "C" not null,
  state text not null check (state in ('running', 'paused', 'cancelled')),
  changed_at_ms bigint not null, -- grows with every change, whatever the clock says
  changed_in text collate "C" not null, -- region
  updated_at timestamptz not null default clock_timestamp() -- by this database's clock: what owners ask for
);
create index notification_control_updated on notification_control (updated_at);
create trigger fence before insert or update or delete or truncate on notification_control
  for each statement execute function refuse_when_fenced();
