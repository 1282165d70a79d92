-- Retention (ADR 0027): what grows for ever is cut into parts (tables of a partitioned table), and goes
-- by the part. Here `part` is such a table; `partition` stays a fixed share of a home's recipients.
-- What was there becomes part 0 as it is: it is renamed and attached, no row is copied, and it keeps its
-- own indexes. A table that is cut has only those indexes that a statement names (on conflict).

-- Every part. A part of `ledger` ends when the next one is opened, not when a clock says so.
create table table_part (
  name text collate "C" primary key,
  parent text collate "C" not null,
  number int not null, -- grows; 0: what was there before
  from_at timestamptz not null, -- infinity: attached, not opened yet
  until_at timestamptz, -- null: rows are still added
  detached_at timestamptz, -- no row of it is seen any more; it is to be dropped
  unique (parent, number)
);
create trigger fence before insert or update or delete or truncate on table_part
  for each statement execute function refuse_when_fenced();

-- The smallest UUIDv7 of an instant; there is none before 1970.
create function uuid_at(at timestamptz) returns uuid language sql immutable parallel safe
  return (lpad(to_hex(floor(greatest(extract(epoch from at), 0) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- A value of the column that a table is cut by, for an instant.
create function cut_value(of_table text, at timestamptz) returns text language sql stable
  return (select case when a.atttypid = 'uuid'::regtype then uuid_at(at)::text else at::text end
    from pg_partitioned_table p
    join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
    where p.partrelid = of_table::regclass);

-- An empty table like another one, with its indexes and storage, behind the fence.
create function create_part(name text, model text) returns void language plpgsql as $$
begin
  execute format('create table %I (like %I including all) %s', name, model,
    (select 'with (' || array_to_string(reloptions, ', ') || ')' from pg_class
      where oid = model::regclass));
  execute format('create trigger fence before insert or update or delete or truncate on %I '
    'for each statement execute function refuse_when_fenced()', name);
end
$$;

-- One more part for what lies between two instants. Rows for then that came already are in the rest.
create function add_time_part(of_table text, from_at timestamptz, until_at timestamptz)
  returns text language plpgsql as $$
declare
  key text := (select a.attname from pg_partitioned_table p
    join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
    where p.partrelid = of_table::regclass);
  number int := (select max(t.number) + 1 from table_part t where t.parent = of_table);
  name text := of_table || '_' || number;
  low text := cut_value(of_table, from_at);
  high text := cut_value(of_table, until_at);
begin
  perform create_part(name, of_table || '_rest');
  execute format('with moved as (delete from %I where %I >= %L and %I < %L returning *) '
    'insert into %I select * from moved', of_table || '_rest', key, low, key, high, name);
  execute format('alter table %I attach partition %I for values from (%L) to (%L)',
    of_table, name, low, high);
  insert into table_part (name, parent, number, from_at, until_at)
  values (name, of_table, number, from_at, until_at);
  return name;
end
$$;

-- Cuts a table by time: by a UUIDv7 or a timestamptz that is not null. All that is there and all until
-- `until_at` is part 0; `_rest` takes what no part is for, so that no row is ever refused.
create function cut_by_time(of_table text, key text, until_at timestamptz) returns void
  language plpgsql as $$
declare
  high text;
begin
  execute format('alter table %I rename to %I', of_table, of_table || '_0');
  execute format('create table %I (like %I including defaults including generated) '
    'partition by range (%I)', of_table, of_table || '_0', key);
  execute format('create trigger fence before insert or update or delete or truncate on %I '
    'for each statement execute function refuse_when_fenced()', of_table);
  high := cut_value(of_table, until_at);
  perform create_part(of_table || '_rest', of_table || '_0');
  execute format('with moved as (delete from %I where %I >= %L returning *) '
    'insert into %I select * from moved', of_table || '_0', key, high, of_table || '_rest');
  execute format('alter table %I attach partition %I default', of_table, of_table || '_rest');
  execute format('alter table %I attach partition %I for values from (minvalue) to (%L)',
    of_table, of_table || '_0', high);
  insert into table_part (name, parent, number, from_at, until_at)
  values (of_table || '_0', of_table, 0, '-infinity', until_at);
end
$$;

select cut_by_time('notification', 'id', now() + interval '23 days');
alter table notification add constraint notification_id primary key (id); -- `on conflict (id)`
select cut_by_time('attempt', 'notification_id', now() + interval '8 days');

-- The ledger is cut by a number that is dealt out with the offset, under the lock of the partition's row:
-- so offsets and parts grow together, and what is dropped is below one offset in each partition. (By id
-- it would leave gaps: what was relayed late has an old id and a new offset.)
alter table partition add column ledger_part int not null default 0;
alter table ledger add column part int not null default 0;
alter table ledger rename to ledger_0;
create table ledger (like ledger_0 including defaults) partition by list (part);
create trigger fence before insert or update or delete or truncate on ledger
  for each statement execute function refuse_when_fenced();
alter table ledger attach partition ledger_0 for values in (0);
insert into table_part (name, parent, number, from_at) values ('ledger_0', 'ledger', 0, now());

-- The first offset of a partition in each part; below the lowest nothing is kept.
create table ledger_part (
  home text collate "C" not null,
  partition smallint not null,
  first_offset bigint not null,
  part int not null,
  primary key (home, partition, first_offset, part)
) with (fillfactor = 10); -- so many pages that Postgres looks a row up by its key: 256 times in a flush
create trigger fence before insert or update or delete or truncate on ledger_part
  for each statement execute function refuse_when_fenced();
insert into ledger_part (home, partition, first_offset, part) select home, n, 1, 0 from partition;

-- What goes row by row is found by its time.
create index idempotency_created on idempotency (created_at);
