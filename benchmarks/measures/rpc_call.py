"""A Go plugin called by this project, by grpcio, and by HashiCorp's own host in Go.

All of them call the same plugin, started by ours; grpcio can't start one. Each host is a program of
its own (`benchmarks/hosts/`).
"""

from collections.abc import Mapping, Sequence

import attrs

from benchmarks.go_programs import go_program
from benchmarks.harness import (
    Budget,
    Compared,
    Goal,
    Measure,
    Row,
    Side,
    in_turn,
    ratio_at_least,
    ratio_at_most,
)
from benchmarks.hosts.lines import HostProgram, open_host, python_program

OURS = "sigil-actors"
GRPCIO = "grpcio"
GRPCIO_THREADS = "threads on grpcio"
"""The same stub; 128 in flight are 128 threads, as a program without futures has them."""
GO = "Go host"
PYVIDER = "pyvider-rpcplugin"

IN_FLIGHT = 128
CHUNKS = 20_000
COLD_STARTS = 20


@attrs.frozen(kw_only=True, eq=False)
class Figure:
    """One thing that each host is asked for."""

    name: str
    what: str
    unit: str
    compared: Compared
    goals: Mapping[str, Goal]
    """By the name of the reference."""


UNARY = Figure(
    name="unary",
    what="a unary call, one after another",
    unit="µs",
    compared=Compared.COST,
    goals={GRPCIO: ratio_at_most(0.7), GO: ratio_at_most(1.4)},
)
RATE = Figure(
    name=f"rate_{IN_FLIGHT}",
    what=f"unary calls, {IN_FLIGHT} in flight",
    unit="1/s",
    compared=Compared.RATE,
    goals={GRPCIO: ratio_at_least(5), GO: ratio_at_least(0.9)},
)
CPU = Figure(
    name=f"cpu_{IN_FLIGHT}",
    what=f"the host's processor time for a call, {IN_FLIGHT} in flight",
    unit="µs",
    compared=Compared.COST,
    goals={},
)
CHUNK = Figure(
    name="chunk",
    what="a chunk of a stream",
    unit="µs",
    compared=Compared.COST,
    goals={GRPCIO: ratio_at_most(0.15)},
)
COLD = Figure(
    name="cold_start",
    what="from before a plugin is started to its first reply",
    unit="ms",
    compared=Compared.COST,
    goals={GO: ratio_at_most(1.5)},
)

Sides = Mapping[str, Side]
"""By the host's name."""


def compare_calls(
    hosts: Mapping[str, HostProgram], budget: Budget
) -> Mapping[Figure, dict[str, Side]]:
    """Let hosts that are connected take turns in calling their plugin."""
    figures = (UNARY, RATE, CPU, CHUNK)
    sides = {figure: {name: Side(name) for name in hosts} for figure in figures}
    for turn in in_turn(budget.rounds, *[Side(name) for name in hosts]):
        host = hosts[turn.name]
        unary = host.ask("unary", seconds=budget.sample_s)
        rate = host.ask("rate", seconds=budget.sample_s, in_flight=IN_FLIGHT)
        chunk = host.ask("chunks", chunks=budget.of(CHUNKS))
        sides[UNARY][turn.name].values.append(unary.value)
        sides[RATE][turn.name].values.append(rate.value)
        sides[CPU][turn.name].values.append(rate.cpu_us)
        sides[CHUNK][turn.name].values.append(chunk.value)
    return sides


def compare_starts(hosts: Mapping[str, HostProgram], plugin: str, budget: Budget) -> Sides:
    """Let hosts take turns in starting a plugin of their own."""
    sides = {name: Side(name) for name in hosts}
    for host in hosts.values():
        host.ask("cold", argv=[plugin])  # what is loaded on use is there afterwards
    for turn in in_turn(budget.of(COLD_STARTS), *sides.values()):
        turn.values.append(hosts[turn.name].ask("cold", argv=[plugin]).value)
    return sides


def rows_of(measure: str, figures: Mapping[Figure, Sides]) -> Sequence[Row]:
    """Return a row for each figure and each host that ours is compared with."""
    return [
        Row(
            name=f"{measure}/{figure.name}_{name.lower().partition(' ')[0]}",
            what=figure.what,
            unit=figure.unit,
            ours=sides[OURS],
            reference=reference,
            compared=figure.compared,
            goal=figure.goals.get(name),
        )
        for figure, sides in figures.items()
        for name, reference in sides.items()
        if name != OURS
    ]


def _run(budget: Budget) -> Sequence[Row]:
    plugin = str(go_program("plugin"))
    with (
        open_host(*python_program("hosts.ours")) as ours,
        open_host(*python_program("hosts.raw_grpcio")) as grpcio,
        open_host(*python_program("hosts.raw_grpcio"), "threads") as threads,
        open_host(str(go_program("benchhost"))) as go,
    ):
        launched = ours.ask("launch", argv=[plugin])
        for other in (grpcio, threads, go):
            other.ask("attach", address=launched.address, pid=launched.pid)
        hosts = {OURS: ours, GRPCIO: grpcio, GRPCIO_THREADS: threads, GO: go}
        calls = compare_calls(hosts, budget)
        for figure in (UNARY, CHUNK):
            del calls[figure][GRPCIO_THREADS]  # one call at a time is the same as without
        figures: dict[Figure, Sides] = {
            **calls,
            COLD: compare_starts({OURS: ours, GO: go}, plugin, budget),
        }
    return rows_of("rpc_call", figures)


def _run_with_pyvider(budget: Budget) -> Sequence[Row]:
    plugin = str(go_program("plugin"))
    with (
        open_host(*python_program("hosts.ours")) as ours,
        open_host(*python_program("hosts.raw_pyvider")) as pyvider,
    ):
        hosts = {OURS: ours, PYVIDER: pyvider}
        for host in hosts.values():
            host.ask("launch", argv=[plugin])
        figures = {
            **compare_calls(hosts, budget),
            COLD: compare_starts(hosts, plugin, budget),
        }
    return rows_of("rpc_pyvider", figures)


def _run_server(budget: Budget) -> Sequence[Row]:
    go_host = str(go_program("benchhost"))
    with open_host(go_host) as ours, open_host(go_host) as grpcio:
        hosts = {OURS: ours, GRPCIO: grpcio}
        for host, plugin in ((ours, "on_sdk"), (grpcio, "on_grpcio")):
            host.ask("launch", argv=python_program(f"plugins.{plugin}"))
        figures = {
            attrs.evolve(figure, goals={GRPCIO: ratio_at_least(3)} if figure is RATE else {}): sides
            for figure, sides in compare_calls(hosts, budget).items()
            if figure is not CPU
        }
    return rows_of("sdk_server", figures)


MEASURES = (
    Measure(
        name="rpc_call",
        what="A Go plugin called and started, against grpcio and a host in Go",
        run=_run,
        peers=("go",),
    ),
    Measure(
        name="rpc_pyvider",
        what="A Go plugin called and started, against pyvider-rpcplugin",
        run=_run_with_pyvider,
        peers=("go", "pyvider"),
    ),
    Measure(
        name="sdk_server",
        what="A plugin on our SDK called by a host in Go, against one on grpcio's server",
        run=_run_server,
        peers=("go",),
    ),
)
