%% packages/process/bench/erlang/rival_worker.erl
%% The rival's recipient: a gen_server found by name whose state is two integers and a small tuple.
-module(rival_worker).
-behaviour(gen_server).
-export([start_link/1, start_hibernated/1, name/1]).
-export([init/1, handle_call/3, handle_cast/2]).

name(Key) -> {via, rival_names, Key}.

start_link(Key) -> gen_server:start_link(name(Key), ?MODULE, Key, []).

start_hibernated(Key) -> gen_server:start_link(name(Key), ?MODULE, {hibernated, Key}, []).

init({hibernated, Key}) -> {ok, state(Key), hibernate};
init(Key) -> {ok, state(Key)}.

%% Computed, so that it lies on the heap: a constant would be shared by all.
state(Key) -> {0, 0, {online, byte_size(Key)}}.

handle_call({notify, Offset}, _, {_, Count, Address}) ->
    {reply, Count + 1, {Offset, Count + 1, Address}};
handle_call(count, _, {_, Count, _} = State) ->
    {reply, Count, State}.

handle_cast({notify, Offset, _Body}, {_, Count, Address}) ->
    {noreply, {Offset, Count + 1, Address}};
handle_cast(crash, _) ->
    exit(crashed).
