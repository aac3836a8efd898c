"""The workloads, by what they ask of the queue."""

from __future__ import annotations

from benchmarks.plan import Workload


def all_of_them(*, quick: bool) -> list[Workload]:
    """Every workload, in the order in which they run."""
    from benchmarks.workloads import contention, depth, drain, graph, idle, reads, startup, submit

    modules = (drain, submit, depth, graph, reads, contention, idle, startup)
    return [workload for module in modules for workload in module.workloads(quick=quick)]
