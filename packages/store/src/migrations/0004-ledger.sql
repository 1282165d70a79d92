-- 256 partitions of a home region, and one ledger row per notification and partition concerned.
create table partition (
  home text collate "C" not null,
  n smallint not null,
  owner_id text,
  epoch bigint not null default 0,
  lease_until timestamptz not null default '-infinity',
  is_released boolean not null default true,
  next_offset bigint not null default 1,
  next_index int not null default 0,
  directory_version bigint not null default 0,
  ledger_epoch text not null default left(gen_random_uuid()::text, 8),
  primary key (home, n)
) with (fillfactor = 10); -- hot rows: nearly every update finds room in its own page

create table ledger (
  home text collate "C" not null,
  partition smallint not null,
  "offset" bigint not null,
  notification_id uuid not null,
  directory_version bigint not null,
  state smallint not null, -- 0 planned, 1 open, 2 closed
  members int[], -- small audience; then bit i of a set stands for members[i]
  targeted bytea not null default '',
  delivered_socket bytea not null default '',
  no_device bytea not null default '',
  unacked bytea not null default '',
  expired bytea not null default '',
  failed bytea not null default '',
  received_late bytea not null default '',
  read bytea not null default '',
  acknowledged bytea not null default '',
  primary key (home, partition, "offset")
) with (fillfactor = 80);
create index ledger_notification on ledger (notification_id);
create index ledger_unclosed on ledger (home, partition, "offset") where state <> 2;
-- One recipient's rows without looking at everybody's: direct ones by number, the rest in order.
create index ledger_direct on ledger (home, partition, (members[1]), "offset")
  where cardinality(members) = 1;
create index ledger_wide on ledger (home, partition, "offset")
  where cardinality(members) is distinct from 1;

-- Kernel's Bitset.toBytes has no trailing zero bytes: a bit beyond the end is 0, not an error.
create function bit_is_set(bits bytea, slot int) returns boolean language sql immutable parallel safe
  return case when slot < octet_length(bits) * 8 then get_bit(bits, slot) = 1 else false end;

create function is_targeted(members int[], targeted bytea, idx int) returns boolean
  language sql immutable parallel safe
  return case when members is null then bit_is_set(targeted, idx) else idx = any(members) end;
