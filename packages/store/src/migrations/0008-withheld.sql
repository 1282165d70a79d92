-- Withheld rows by tenant (ADR 0015), so that a probe of some tenants looks at as many rows as there are
-- tenants, however many are withheld. Null: withheld by a node of the build before, until a probe sees it.
alter table outbox add column withheld_tenant text collate "C";
create index outbox_withheld on outbox (target_region, withheld_tenant, id)
  where next_attempt_at = 'infinity';
