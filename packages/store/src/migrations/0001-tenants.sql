-- Customer organisations and their API keys. The secret of a key is never stored, only its HMAC.
create table tenant (
  tenant_id text collate "C" primary key,
  name text not null,
  created_at timestamptz not null default now()
);

create table api_key (
  key_id text collate "C" primary key,
  tenant_id text collate "C" not null references tenant,
  secret_hmac bytea not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);
