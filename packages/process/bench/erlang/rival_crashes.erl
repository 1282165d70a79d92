%% packages/process/bench/erlang/rival_crashes.erl
%% Crash and restart under supervision, from the first crash until every process answers again.
%% A supervisor's cost per restart grows with the crashes that wait in its mailbox (each start receives
%% selectively past them) and with the restarts of the last second (it walks them); so the number
%% depends on how many crash at once and on how many supervisors share them. All are measured:
%%   5,000 and 20,000 children of one supervisor at once;
%%   20,000 of 64 supervisors at once; the same with 64 crashes in flight, which is the BEAM's best.
-module(rival_crashes).
-export([measure/0]).

-define(ROUNDS, 3).

measure() ->
    [
        {crashRestartsPerSecond, rate(dynamic, 1, 5_000, 5_000)},
        {crashRestartsTwentyThousandPerSecond, rate(dynamic, 1, 20_000, 20_000)},
        {crashRestartsStaticPerSecond, rate(static, 1, 5_000, 5_000)},
        {crashRestartsPartitionedPerSecond, rate(dynamic, 64, 20_000, 20_000)},
        {crashRestartsPacedPerSecond, rate(dynamic, 64, 20_000, 64)}
    ].

%% Each round has new supervisors, in whose window there is no restart yet.
rate(Kind, Supervisors, Count, InFlight) ->
    Rounds = lists:seq(1, ?ROUNDS),
    Rates = [round_rate({Kind, InFlight, Round}, Supervisors, Count) || Round <- Rounds],
    lists:nth((?ROUNDS + 1) div 2, lists:sort(Rates)).

round_rate({Kind, InFlight, _} = Name, Supervisors, Count) ->
    Keys = [term_to_binary({Name, Supervisors, N}) || N <- lists:seq(1, Count)],
    start(Kind, Supervisors, Keys),
    Before = pids(Keys),
    StartNs = erlang:monotonic_time(nanosecond),
    crash(Keys, Count, InFlight),
    TookNs = erlang:monotonic_time(nanosecond) - StartNs,
    [] = [Pid || {Pid, Pid} <- lists:zip(Before, pids(Keys))],
    Count * 1.0e9 / TookNs.

pids(Keys) -> [rival_names:whereis_name(Key) || Key <- Keys].

crash(_, 0, _) ->
    ok;
crash(Keys, Count, InFlight) ->
    {Some, Rest} = lists:split(min(Count, InFlight), Keys),
    lists:foreach(fun(Key) -> gen_server:cast(rival_worker:name(Key), crash) end, Some),
    lists:foreach(fun(Key) -> wait_for_answer(Key, 50) end, Some),
    crash(Rest, Count - length(Some), InFlight).

%% Yields at first, so that a quick restart is seen at once; then sleeps, so as not to take its time.
wait_for_answer(Key, Yields) ->
    try
        gen_server:call(rival_worker:name(Key), count)
    catch
        exit:_ when Yields > 0 ->
            erlang:yield(),
            wait_for_answer(Key, Yields - 1);
        exit:_ ->
            timer:sleep(1),
            wait_for_answer(Key, 0)
    end.

start(static, 1, Keys) ->
    {ok, _} = rival_sup:start_link(start_link, {static, Keys});
start(dynamic, Count, Keys) ->
    Each = [element(2, rival_sup:start_link(start_link, dynamic)) || _ <- lists:seq(1, Count)],
    Supervisors = list_to_tuple(Each),
    Start = fun(Key, N) ->
        rival_sup:start_child(element(1 + N rem Count, Supervisors), Key),
        N + 1
    end,
    lists:foldl(Start, 0, Keys).
