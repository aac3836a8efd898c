"""The workloads, by what they ask of the queue."""

from __future__ import annotations

from benchmarks.peers import roster
from benchmarks.peers.peer import Server
from benchmarks.plan import Workload


def all_of_them(*, quick: bool, servers: frozenset[Server] = frozenset()) -> list[Workload]:
    """Every workload, in the order in which they run, with the peers that need no other servers than these."""
    from benchmarks.workloads import (
        contention,
        crash,
        depth,
        drain,
        graph,
        idle,
        latency,
        reads,
        startup,
        submit,
    )

    peers = roster.with_servers(servers)
    modules = (depth, latency, graph, reads, contention, crash, idle, startup)
    return [
        *submit.workloads(quick=quick, peers=peers),
        *drain.workloads(quick=quick, peers=peers),
        *(workload for module in modules for workload in module.workloads(quick=quick)),
    ]
