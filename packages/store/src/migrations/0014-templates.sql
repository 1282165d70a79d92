-- Templates (ADR 0025). Every version is a row, the same in every region; the newest by its change is what a
-- template is. What is sent is rendered when it is accepted: nothing refers to these rows.
create table template (
  tenant_id text collate "C" not null,
  template_id text collate "C" not null,
  version int not null,
  definition jsonb, -- null: this version deleted it; kept, since other regions may still tell an older one
  changed_at_ms bigint not null, -- grows with every version, whatever the clock says
  changed_in text collate "C" not null, -- region
  primary key (tenant_id, template_id, version)
);
create trigger fence before insert or update or delete or truncate on template
  for each statement execute function refuse_when_fenced();
