-- Groups (ADR 0021). What a group is, is the same in every region; who is in it stands in the rows of
-- its people, at home only (D8), so that owners hear of a change as of any other (ADR 0005).
create table recipient_group (
  tenant_id text collate "C" not null,
  group_id text collate "C" not null,
  generation int not null, -- how often it was created again after it had been deleted
  name text,
  filter jsonb, -- null: static
  is_deleted boolean not null default false, -- kept: other regions may still tell what it was before
  changed_at_ms bigint not null, -- grows with every change, whatever the clock says
  changed_in text collate "C" not null, -- region
  primary key (tenant_id, group_id)
);
create trigger fence before insert or update or delete or truncate on recipient_group
  for each statement execute function refuse_when_fenced();

alter table recipient add column groups text[] not null default '{}'; -- tags: id, or id/generation
