-- Recall (ADR 0032): cancelled, and taken away from whoever has it by another notification, which is named here: pages
-- of an inbox show neither of the two.
alter table notification_control
  drop constraint notification_control_state_check,
  add constraint notification_control_state_check
    check (state in ('running', 'paused', 'cancelled', 'recalled')),
  add column withdrawal_id uuid; -- of what is recalled
create unique index notification_control_withdrawal on notification_control (withdrawal_id)
  where withdrawal_id is not null;
create index notification_control_recalled on notification_control (notification_id)
  where state = 'recalled';

-- Which of two states stays, whenever they were asked for; 0: the newer one.
create function control_rank(state text) returns int language sql immutable parallel safe
  return case state when 'recalled' then 2 when 'cancelled' then 1 else 0 end;
