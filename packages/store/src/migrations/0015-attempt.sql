-- The journal of deliveries (ADR 0026): what was decided about one recipient's notification, when, by which
-- owner. Rows are added and never changed. The key leads to one story, in order; it holds notification_id,
-- a UUID v7 and so a time, by whose ranges the table can be partitioned for retention.
create table attempt (
  home text collate "C" not null,
  partition smallint not null,
  notification_id uuid not null,
  idx int not null, -- of the recipient in its partition
  epoch bigint not null, -- of the ownership: under one epoch there is one owner, whose seq only grows
  seq bigint not null,
  at timestamptz not null, -- by the owner's clock
  node text collate "C" not null,
  kind text collate "C" not null,
  code text collate "C", -- outcome, receipt, gateway, or what a provider answered
  detail jsonb,
  primary key (home, partition, notification_id, idx, epoch, seq)
);
create trigger fence before insert or update or delete or truncate on attempt
  for each statement execute function refuse_when_fenced();
