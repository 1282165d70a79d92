-- Policy, preferences, categories (ADR 0024). A tenant's policy is the same in every region; a recipient's
-- preferences stand in the row, at home only (D8), so that owners hear of them as of any change (ADR 0005).
create table tenant_policy (
  tenant_id text collate "C" primary key,
  policy jsonb not null,
  changed_at_ms bigint not null, -- grows with every change, whatever the clock says
  changed_in text collate "C" not null -- region
);
create trigger fence before insert or update or delete or truncate on tenant_policy
  for each statement execute function refuse_when_fenced();

alter table recipient add column preferences jsonb; -- null: none, as most have
alter table notification add column category text collate "C";
