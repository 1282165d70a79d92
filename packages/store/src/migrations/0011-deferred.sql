-- Rows that come later (ADR 0022): a notification with a time of its own, and recipients that are put off. What
-- waits is a timer of kind "row"; the statement that deletes it gives it the partition's next offset.
alter table notification add column options json not null default '{}'; -- what few notifications have

alter table ledger
  add column cancelled bytea not null default '',
  add column opted_out bytea not null default '',
  add column capped bytea not null default '',
  add column collapsed bytea not null default '',
  add column moved bytea not null default '', -- put off: goes on in another row, has no outcome in this one
  add column moves_count int not null default 0; -- writes that put somebody off; a repeated one does nothing

-- Everything of one notification that waits.
alter table timer add column notification_id uuid
  generated always as (case when kind = 'row' then (payload ->> 'notificationId')::uuid end) stored;
create index timer_row on timer (notification_id) where notification_id is not null;

create function is_moved(members int[], moved bytea, idx int) returns boolean
  language sql immutable parallel safe
  return case when moved = '' then false
    else bit_is_set(moved, case when members is null then idx else array_position(members, idx) - 1 end)
  end;
