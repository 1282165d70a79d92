-- What was posted, what has to go to other regions, and which Idempotency-Key stands for what.
create table notification (
  id uuid primary key,
  tenant_id text collate "C" not null,
  accepted_region text not null,
  accepted_at timestamptz not null,
  expires_at timestamptz not null,
  priority text not null,
  content json not null, -- not jsonb: the first locale is the fall-back, so order matters
  exclude jsonb not null,
  audience jsonb, -- of this region; null: this region only accepted it
  target_regions text[] not null,
  unknown_count int, -- null: not asked for by name, or relayed from another region
  is_accepted_here boolean not null
);

create table idempotency (
  tenant_id text collate "C" not null,
  key text collate "C" not null,
  fingerprint bytea not null,
  notification_id uuid not null,
  answer json not null, -- json, not jsonb: replayed with its keys in the order they were sent
  created_at timestamptz not null default now(),
  primary key (tenant_id, key)
);

create table outbox (
  id bigserial primary key,
  target_region text not null,
  kind text not null check (kind in ('notification', 'homes')),
  notification_id uuid,
  payload jsonb not null, -- RegionAudience of the target, or HomesBatch
  created_at timestamptz not null default now(),
  attempt_count int not null default 0,
  next_attempt_at timestamptz not null,
  check ((kind = 'notification') = (notification_id is not null))
);
create index outbox_due on outbox (target_region, next_attempt_at);
