%% packages/process/bench/erlang/rival_sup.erl
%% The rival's supervisor. `dynamic` is simple_one_for_one, which a recipient's process would have;
%% `static` is one_for_one with a spec per child, measured for information.
%% Intensity is as good as unlimited and the period the shortest that OTP has (1 s), since a supervisor
%% walks the restarts of its period at each restart.
-module(rival_sup).
-behaviour(supervisor).
-export([start_link/2, start_child/2]).
-export([init/1]).

-define(INTENSITY, 1_000_000_000).

%% Function is the worker's start function, Extra its arguments after the key.
start_link(Function, Kind) -> supervisor:start_link(?MODULE, {Function, Kind}).

start_child(Supervisor, Key) ->
    {ok, Pid} = supervisor:start_child(Supervisor, [Key]),
    Pid.

init({Function, dynamic}) ->
    {ok, {flags(simple_one_for_one), [child(recipient, Function, [])]}};
init({Function, {static, Keys}}) ->
    {ok, {flags(one_for_one), [child(Key, Function, [Key]) || Key <- Keys]}}.

flags(Strategy) -> #{strategy => Strategy, intensity => ?INTENSITY, period => 1}.

child(Id, Function, Arguments) ->
    #{
        id => Id,
        start => {rival_worker, Function, Arguments},
        restart => permanent,
        shutdown => brutal_kill
    }.
