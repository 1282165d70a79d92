%% packages/process/bench/erlang/rival_latency.erl
%% Turnaround of a quiet process, asked by name about every millisecond, while others are busy.
%% A stall is the time between two answers less the millisecond of rest: it also sees what stops the
%% whole scheduler while no question is under way.
-module(rival_latency).
-export([flood/1, under_traffic/3]).

-define(FLOOD, 1_000_000).
-define(PER_SECOND, 200_000).
-define(TRAFFIC_SECONDS, 5).
-define(ROUNDS, 5).

%% One process gets a million messages from one sender, by name, as fast as it can.
flood(Supervisor) ->
    start_quiet(Supervisor),
    rival_sup:start_child(Supervisor, <<"flooded">>),
    Flooded = rival_worker:name(<<"flooded">>),
    Message = {notify, 1, binary:copy(<<"x">>, 200)},
    Rounds = [
        while(fun() ->
            send(Flooded, Message, ?FLOOD),
            Count = gen_server:call(Flooded, count, infinity),
            Count = Round * ?FLOOD
        end)
     || Round <- lists:seq(1, ?ROUNDS)
    ],
    Answers = lists:append([Asked || {Asked, _} <- Rounds]),
    [
        {quietUnderFloodP99Ms, percentile(Answers, 0.99)},
        {quietUnderFloodMaxMs, lists:max(Answers)}
    ].

send(_, _, 0) ->
    ok;
send(Name, Message, Count) ->
    gen_server:cast(Name, Message),
    send(Name, Message, Count - 1).

%% A million resident processes get 200,000 messages a second, by name, one after the other.
under_traffic(Supervisor, Keys, Message) ->
    start_quiet(Supervisor),
    StartMs = erlang:monotonic_time(millisecond),
    {Answers, Stalls} = while(fun() ->
        pace(Keys, Keys, Message, 0, StartMs)
    end),
    TookMs = erlang:monotonic_time(millisecond) - StartMs,
    [
        {trafficPerSecond, ?PER_SECOND * ?TRAFFIC_SECONDS * 1_000 / TookMs},
        {quietUnderTrafficP99Ms, percentile(Answers, 0.99)},
        {quietUnderTrafficMaxMs, lists:max(Answers)},
        {longestStallMs, lists:max(Stalls)}
    ].

pace(_, _, _, Sent, _) when Sent >= ?PER_SECOND * ?TRAFFIC_SECONDS ->
    ok;
pace(Keys, All, Message, Sent, StartMs) ->
    Due = (erlang:monotonic_time(millisecond) - StartMs) * ?PER_SECOND div 1_000,
    Rest = cast_some(Keys, All, Message, Due - Sent),
    receive
    after 1 -> pace(Rest, All, Message, max(Due, Sent), StartMs)
    end.

cast_some(Keys, _, _, Count) when Count =< 0 -> Keys;
cast_some([], All, Message, Count) ->
    cast_some(All, All, Message, Count);
cast_some([Key | Keys], All, Message, Count) ->
    gen_server:cast(rival_worker:name(Key), Message),
    cast_some(Keys, All, Message, Count - 1).

start_quiet(Supervisor) -> rival_sup:start_child(Supervisor, <<"quiet">>).

%% Asks the quiet process for as long as Run lasts, and returns turnarounds and stalls in ms.
while(Run) ->
    erlang:garbage_collect(),
    {_, Monitor} = spawn_monitor(Run),
    ask(Monitor, erlang:monotonic_time(nanosecond), [], []).

ask(Monitor, LastNs, Answers, Stalls) ->
    receive
        {'DOWN', Monitor, process, _, normal} -> {Answers, Stalls};
        {'DOWN', Monitor, process, _, Reason} -> exit(Reason)
    after 1 ->
        StartNs = erlang:monotonic_time(nanosecond),
        gen_server:call(rival_worker:name(<<"quiet">>), count, infinity),
        EndNs = erlang:monotonic_time(nanosecond),
        StallMs = (EndNs - LastNs) / 1.0e6 - 1.0,
        ask(Monitor, EndNs, [(EndNs - StartNs) / 1.0e6 | Answers], [StallMs | Stalls])
    end.

percentile(Values, Share) ->
    lists:nth(max(1, ceil(length(Values) * Share)), lists:sort(Values)).
