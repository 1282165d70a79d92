-- Who hosts this home region (spec C24, ADR 0015). One row per home in its own database; a copy of the
-- database carries it along, and a promoted copy does not serve before a higher epoch stands in it.
create table home (
  home text collate "C" primary key,
  epoch bigint not null default 1, -- homeEpoch: grows with every declared change of the host
  host_region text collate "C" not null,
  state text not null default 'serving' check (state in ('serving', 'draining', 'fenced')),
  moving_to text collate "C", -- of a planned failover under way, or done
  fence_lsn pg_lsn, -- no write of this home lies behind it; null: the fence is not complete
  superseded_epoch bigint, -- who fenced it, when it was not planned here
  superseded_host text collate "C",
  -- Of the failover that began this epoch; all null before the first.
  is_planned boolean,
  replayed_lsn pg_lsn, -- up to which the last host's log was here
  replayed_at timestamptz, -- commit time of the last transaction that was
  replayed_snapshot text, -- pg_snapshot of it; null: not known
  changed_at timestamptz not null default now()
);
insert into home (home, host_region) select distinct home, home from partition;

-- What was heard of other homes, and of this one: it outlives restarts of everybody who told it.
create table home_heard (
  home text collate "C" primary key,
  epoch bigint not null,
  host_region text collate "C" not null,
  heard_at timestamptz not null default now()
);

-- Regions besides a recipient's home that may host this tenant's people; none: strict (D8).
alter table tenant add column failover_to text[] not null default '{}';

-- The fence of a home: in the same statement as the write, read with a snapshot of its own.
create function refuse_when_fenced() returns trigger language plpgsql as $$
begin
  if exists (select 1 from home where state = 'fenced') then
    raise exception 'this home is served by another region' using errcode = 'CRF01';
  end if;
  return null;
end
$$;

create trigger fence before insert or update or delete or truncate on tenant
  for each statement execute function refuse_when_fenced();
create trigger fence before insert or update or delete or truncate on api_key
  for each statement execute function refuse_when_fenced();
create trigger fence before insert or update or delete or truncate on recipient
  for each statement execute function refuse_when_fenced();
create trigger fence before insert or update or delete or truncate on recipient_home
  for each statement execute function refuse_when_fenced();
create trigger fence before insert or update or delete or truncate on idempotency
  for each statement execute function refuse_when_fenced();
create trigger fence before insert or update or delete or truncate on notification
  for each statement execute function refuse_when_fenced();
create trigger fence before insert or update or delete or truncate on outbox
  for each statement execute function refuse_when_fenced();
create trigger fence before insert or update or delete or truncate on partition
  for each statement execute function refuse_when_fenced();
create trigger fence before insert or update or delete or truncate on ledger
  for each statement execute function refuse_when_fenced();
create trigger fence before insert or update or delete or truncate on quarantine
  for each statement execute function refuse_when_fenced();
