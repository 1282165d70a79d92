%% packages/process/bench/erlang/rival.erl
%% What a *supervised gen_server found by name* costs on the BEAM: the like-for-like rival of a
%% recipient's process. Names are binaries in an ETS registry (rival_names, as Elixir's Registry), since
%% a million atoms are bad practice and `global` would be unfair.
%%   erl +S 1:1 +SDcpu 1:1 +SDio 1 +P 5000000 -noshell -run rival main SECTION
%% Each section runs in a node of its own and prints one line: a flat JSON object of numbers.
%%   starts messages crashes flood | resident hibernated plain (the last three: 1,000,000 processes)
%% Rates are medians over rounds; one supervisor, since 64 of them started no faster. Choices that matter are made in the rival's favour: handlers count
%% nothing beside their state, keys and messages are built beforehand, no report is ever printed, and
%% a resident process gets too few messages to collect much garbage (ten rounds: a tenth slower).
-module(rival).
-export([main/1]).

-define(RESIDENT, 1_000_000).
-define(KEYS, 200_000).
-define(ROUNDS, 3).

main([Section]) ->
    logger:set_primary_config(level, none),
    {_, Monitor} = spawn_monitor(fun() -> print(section(Section)) end),
    receive
        {'DOWN', Monitor, process, _, normal} ->
            halt(0);
        {'DOWN', Monitor, process, _, Reason} ->
            io:format(standard_error, "rival: ~s failed: ~p~n", [Section, Reason]),
            halt(1)
    end.

section("starts") ->
    start_names(),
    Supervisor = supervisor(start_link),
    Rates = [
        begin
            Keys = keys(Round * ?KEYS, ?KEYS),
            rate(?KEYS, fun() -> start_each(Supervisor, Keys) end)
        end
     || Round <- [0, 1, 2]
    ],
    [{startsPerSecond, median(Rates)}];
section("messages") ->
    start_names(),
    Keys = keys(0, ?KEYS),
    start_each(supervisor(start_link), Keys),
    Casts = rounds(?KEYS, fun(Round) -> cast_each(Keys, message(Round)) end),
    Calls = rounds(?KEYS, fun(Round) -> call_each(Keys, Round) end),
    Shares = shares(Keys, ?KEYS div 100),
    Concurrent = rounds(?KEYS, fun(Round) ->
        in_parallel([fun() -> call_each(Share, Round) end || Share <- Shares])
    end),
    check_counts(Keys, 3 * ?ROUNDS),
    [
        {castsByKeyPerSecond, median(Casts)},
        {callsPerSecond, max(median(Calls), median(Concurrent))},
        {callsSequentialPerSecond, median(Calls)},
        {callsConcurrentPerSecond, median(Concurrent)}
    ];
section("crashes") ->
    start_names(),
    rival_crashes:measure();
section("flood") ->
    start_names(),
    rival_latency:flood(supervisor(start_link));
section("resident") ->
    start_names(),
    BeforeBytes = rss_bytes(),
    Supervisor = supervisor(start_link),
    StartsPerSecond = rate(?RESIDENT, fun() -> fill(Supervisor, ?RESIDENT) end),
    collect_all(),
    Bytes = bytes_each(BeforeBytes),
    Keys = keys(0, ?RESIDENT),
    Pids = [rival_names:whereis_name(Key) || Key <- Keys],
    ByPid = rounds(?RESIDENT, fun(Round) -> send_each(Pids, {'$gen_cast', message(Round)}) end),
    ByName = rounds(?RESIDENT, fun(Round) -> cast_each(Keys, message(Round)) end),
    check_counts(Keys, 2 * ?ROUNDS),
    [
        {bytesPerIdleProcess, Bytes},
        {startsToMillionPerSecond, StartsPerSecond},
        {fanOutByPidPerSecond, median(ByPid)},
        {fanOutByNamePerSecond, median(ByName)}
        | rival_latency:under_traffic(Supervisor, Keys, message(0))
    ];
section("hibernated") ->
    start_names(),
    BeforeBytes = rss_bytes(),
    fill(supervisor(start_hibernated), ?RESIDENT),
    collect_others(),
    [{bytesPerHibernatedProcess, bytes_each(BeforeBytes)}];
section("plain") ->
    BeforeBytes = rss_bytes(),
    spawn_plain(?RESIDENT),
    collect_all(),
    [{bytesPerPlainProcess, bytes_each(BeforeBytes)}].

%% Processes and keys

start_names() -> {ok, _} = rival_names:start_link().

supervisor(Function) ->
    {ok, Supervisor} = rival_sup:start_link(Function, dynamic),
    Supervisor.

key(N) -> <<"recipient-", (integer_to_binary(N))/binary>>.

keys(From, Count) -> [key(N) || N <- lists:seq(From + 1, From + Count)].

start_each(Supervisor, Keys) ->
    lists:foreach(fun(Key) -> rival_sup:start_child(Supervisor, Key) end, Keys).

%% Without a list of keys, which would count as memory of the processes.
fill(_, 0) ->
    ok;
fill(Supervisor, N) ->
    rival_sup:start_child(Supervisor, key(?RESIDENT - N + 1)),
    fill(Supervisor, N - 1).

spawn_plain(0) ->
    ok;
spawn_plain(N) ->
    spawn(fun() -> plain({N, 0, {online, N}}) end),
    spawn_plain(N - 1).

plain(State) ->
    receive
        {state, Next} -> plain(Next);
        stop -> State
    end.

%% Messages

message(Round) -> {notify, Round, binary:copy(<<"x">>, 200)}.

cast_each(Keys, Message) ->
    lists:foreach(fun(Key) -> gen_server:cast(rival_worker:name(Key), Message) end, Keys),
    wait_until_idle().

call_each(Keys, Round) ->
    lists:foreach(fun(Key) -> gen_server:call(rival_worker:name(Key), {notify, Round}) end, Keys).

send_each(Pids, Message) ->
    lists:foreach(fun(Pid) -> Pid ! Message end, Pids),
    wait_until_idle().

%% All is handled when no process is ready to run; check_counts proves afterwards that none was lost.
%% Holds only for small processes: one that collects a large heap is on a dirty scheduler meanwhile.
wait_until_idle() ->
    erlang:yield(),
    case erlang:statistics(total_run_queue_lengths) of
        0 -> ok;
        _ -> wait_until_idle()
    end.

check_counts(Keys, Count) ->
    lists:foreach(fun(Key) -> Count = gen_server:call(rival_worker:name(Key), count) end, Keys).

shares([], _) ->
    [];
shares(List, Count) ->
    {Share, Rest} = lists:split(Count, List),
    [Share | shares(Rest, Count)].

in_parallel(Functions) ->
    Monitors = [element(2, spawn_monitor(Function)) || Function <- Functions],
    [
        receive
            {'DOWN', Monitor, process, _, normal} -> ok
        end
     || Monitor <- Monitors
    ].

%% Measuring

rounds(Count, Run) ->
    [
        begin
            erlang:garbage_collect(),
            rate(Count, fun() -> Run(Round) end)
        end
     || Round <- lists:seq(1, ?ROUNDS)
    ].

rate(Count, Run) ->
    StartNs = erlang:monotonic_time(nanosecond),
    Run(),
    Count * 1.0e9 / (erlang:monotonic_time(nanosecond) - StartNs).

median(Values) -> lists:nth((length(Values) + 1) div 2, lists:sort(Values)).

collect_all() -> collect(processes()).

%% A collected process would give up the small heap that it has while it hibernates.
collect_others() ->
    collect([Pid || Pid <- processes(), not is_hibernating(Pid)]).

is_hibernating(Pid) ->
    process_info(Pid, current_function) =:= {current_function, {erlang, hibernate, 3}}.

collect(Pids) ->
    lists:foreach(fun(Pid) -> erlang:garbage_collect(Pid) end, Pids),
    erlang:garbage_collect(),
    timer:sleep(200).

bytes_each(BeforeBytes) -> (rss_bytes() - BeforeBytes) / ?RESIDENT.

rss_bytes() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    binary_to_integer(iolist_to_binary(Pages)) * 4096.

print(Numbers) ->
    Versions = [
        {otpRelease, list_to_integer(erlang:system_info(otp_release))},
        {schedulers, erlang:system_info(schedulers_online)}
    ],
    Fields = [io_lib:format("\"~s\":~s", [Name, digits(N)]) || {Name, N} <- Versions ++ Numbers],
    io:format("{~s}~n", [lists:join(",", Fields)]).

digits(N) when is_integer(N) -> integer_to_list(N);
digits(N) -> float_to_list(N, [{decimals, 3}]).
