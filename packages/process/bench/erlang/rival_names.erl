%% packages/process/bench/erlang/rival_names.erl
%% Names of the rival: a via-module over two ETS tables, built as Elixir's Registry is. Registration and
%% look-up run in the caller; the registry is linked to each named process and removes it on its exit.
%% Why not what OTP brings along: an atom per name is never collected (a million recipients would fill
%% the atom table), `global` takes a cluster-wide lock per name, and `pg` names groups.
%% Leaner than the original, in the rival's favour: no value beside the pid, no alive check in send/2.
-module(rival_names).
-behaviour(gen_server).
-export([start_link/0, register_name/2, unregister_name/1, whereis_name/1, send/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(PIDS, rival_pids).

start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

register_name(Key, Pid) when Pid =:= self() ->
    link(whereis(?MODULE)),
    true = ets:insert(?PIDS, {Pid, Key}),
    insert(Key, Pid).

insert(Key, Pid) ->
    case ets:insert_new(?MODULE, {Key, Pid}) of
        true -> yes;
        false -> replace_dead(Key, Pid)
    end.

%% A supervisor may restart a process before its exit has reached the registry.
replace_dead(Key, Pid) ->
    case ets:lookup(?MODULE, Key) of
        [{_, Other} = Entry] ->
            case is_process_alive(Other) of
                true ->
                    ets:delete(?PIDS, Pid),
                    no;
                false ->
                    ets:delete_object(?MODULE, Entry),
                    insert(Key, Pid)
            end;
        [] ->
            insert(Key, Pid)
    end.

unregister_name(Key) ->
    ets:delete_object(?MODULE, {Key, self()}),
    ets:delete(?PIDS, self()),
    ok.

%% The alive check is needed: gen_server:start_link asks here whether the name is free.
whereis_name(Key) ->
    case ets:lookup(?MODULE, Key) of
        [{_, Pid}] ->
            case is_process_alive(Pid) of
                true -> Pid;
                false -> undefined
            end;
        [] ->
            undefined
    end.

send(Key, Message) ->
    case ets:lookup(?MODULE, Key) of
        [{_, Pid}] ->
            Pid ! Message,
            Pid;
        [] ->
            exit({badarg, {Key, Message}})
    end.

init([]) ->
    process_flag(trap_exit, true),
    Options = [set, public, named_table, {read_concurrency, true}],
    ?MODULE = ets:new(?MODULE, Options),
    ?PIDS = ets:new(?PIDS, Options),
    {ok, none}.

handle_call(_, _, State) -> {reply, ok, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({'EXIT', Pid, _}, State) ->
    [ets:delete_object(?MODULE, {Key, Pid}) || {_, Key} <- ets:take(?PIDS, Pid)],
    {noreply, State}.
