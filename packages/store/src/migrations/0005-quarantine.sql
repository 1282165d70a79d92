-- Recipients whose process held a node's thread until the watchdog ended the node (spec P16). Whoever
-- owns the partition next must know it, or it ends the same way.
create table quarantine (
  home text collate "C" not null,
  partition smallint not null,
  idx int not null,
  reason text not null,
  since timestamptz not null default now(),
  until timestamptz not null,
  primary key (home, partition, idx)
);
