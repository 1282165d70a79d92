-- Who lives here, and who lives where. `recipient` is a home region's own people with everything
-- known of them; `recipient_home` knows every region's people by id only (D8).
create table recipient (
  home text collate "C" not null,
  partition smallint not null,
  idx int not null, -- dense in the partition, never reused: bitsets are over it
  tenant_id text collate "C" not null,
  recipient_id text collate "C" not null,
  locale text,
  time_zone text,
  attributes jsonb not null,
  version bigint not null, -- the partition's directory version that wrote this row last
  updated_at timestamptz not null default now(),
  primary key (tenant_id, recipient_id),
  unique (home, partition, idx)
);
create index recipient_version on recipient (home, partition, version);

create table recipient_home (
  tenant_id text collate "C" not null,
  recipient_id text collate "C" not null,
  home text collate "C" not null,
  primary key (tenant_id, recipient_id)
);
