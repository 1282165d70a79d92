-- A timer that ends its owners is found among those that were claimed with it: claims, failures and
-- claims of which nobody told the end are counted apart. A claim reads what is due of one kind.
alter table timer
  add column failure_count int not null default 0, -- ended with a reason; attempt_count: claims
  add column claimed_epoch bigint, -- by the owner of this epoch, and no end of it was told
  add column lost_count int not null default 0; -- claims whose owner was gone before their end, in a row
drop index timer_due; -- the previous build's claims take the unique one: right, and slower

-- Next due of a partition and kind. The tenant is in it, so that withheld ones are passed by without
-- their rows; attempt_count and claimed_epoch are in no index, so that a claim touches none.
create index timer_due on timer (home, partition, kind, due_at, id) include (tenant_id)
  where buried_at is null and lost_count = 0;
-- Doubtful ones: few, and claimed a few at a time, so that those above never wait behind them.
create index timer_doubtful on timer (home, due_at, id) where buried_at is null and lost_count > 0;
