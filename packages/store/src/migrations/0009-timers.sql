-- Durable timers of a home's partitions (DESIGN §9). Due by this database's clock, fired by the owner of
-- the partition. One row per (kind, key): whoever sets it again replaces it, under another id.
create sequence timer_id;
create table timer (
  home text collate "C" not null,
  partition smallint not null,
  kind text collate "C" not null, -- who handles it; an owner leaves kinds alone that it does not know
  key text collate "C" not null,
  id bigint primary key default nextval('timer_id'),
  tenant_id text collate "C" not null,
  due_at timestamptz not null,
  payload jsonb not null,
  attempt_count int not null default 0, -- counted before it is fired
  buried_at timestamptz, -- given up: for a person to look at
  buried_reason text,
  unique (home, partition, kind, key)
) with (fillfactor = 80); -- a claim finds room for its attempt in the row's own page
-- Next due of a partition; attempt_count is in no index, so that a claim touches none.
create index timer_due on timer (home, partition, due_at, id) where buried_at is null;
create index timer_buried on timer (home, buried_at) where buried_at is not null;
create trigger fence before insert or update or delete or truncate on timer
  for each statement execute function refuse_when_fenced();
