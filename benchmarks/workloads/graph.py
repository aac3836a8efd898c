"""Graph: workflows of one source, 998 jobs behind it, and one that waits for all of those."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import api, exact, jobs
from benchmarks.peers import gigq051
from benchmarks.plan import FLOOR, OURS, PEER, Contender, Quantity, Sample, Workload
from gigq import Workflow

_BRANCH = 1_000


def workloads(*, quick: bool) -> list[Workload]:
    branches = 40 if quick else 100
    many = {"branches": branches, "width": _BRANCH}
    return [
        Workload(
            "graph",
            f"one workflow of {branches * _BRANCH:,} jobs: fans of {_BRANCH:,}, each with a source and a sink",
            (
                Quantity("submit", "submit_all", "jobs/s", reach=100_000 / 3),
                Quantity("build", "Job() and add_job", "jobs/s"),
                Quantity("drain", "drained", "jobs/s"),
            ),
            (
                Contender(OURS, f"{__name__}:through_api", many, "one transaction, all or nothing; FULL"),
                Contender(FLOOR, f"{__name__}:bare", many, "executemany of jobs, params and edges; FULL"),
                Contender(
                    PEER,
                    f"{__name__}:through_api",
                    {"branches": 1, "width": 200},
                    f"200 jobs, a transaction each; {gigq051.PROMISE}",
                    peer=gigq051.PEER,
                ),
            ),
            most_runs=2 if quick else None,
        )
    ]


def _parents(branches: int, width: int) -> list[list[int]]:
    """For each job the places of its parents."""
    graph: list[list[int]] = []
    for _ in range(branches):
        source = len(graph)
        middle = list(range(source + 1, source + width - 1))
        graph += [[], *([source] for _ in middle), middle]
    return graph


def through_api(folder: str, branches: int, width: int) -> Sample:
    path = str(Path(folder) / "jobs.db")
    queue = api.open_queue(path)
    parents = _parents(branches, width)
    count = len(parents)
    begin = time.perf_counter()
    workflow = Workflow("benchmark")
    made = api.make_jobs(count)
    for job, those in zip(made, parents, strict=True):
        workflow.add_job(job, depends_on=[made[place] for place in those])
    start = time.perf_counter()
    workflow.submit_all(queue)
    end = time.perf_counter()
    values = {
        "build": count / (start - begin),
        "submit": count / (end - start),
        "drain": count / api.drain(path, count, threads=1),
    }
    return Sample(values, exact.check(path, count, len(jobs.called)))


def bare(folder: str, branches: int, width: int) -> Sample:
    from benchmarks import floor

    path = str(Path(folder) / "jobs.db")
    connection = floor.connect(path)
    parents = _parents(branches, width)
    count = len(parents)
    start = time.perf_counter()
    floor.insert_graph(connection, parents)
    end = time.perf_counter()
    floor.drain(connection, graph=True)
    drained = time.perf_counter()
    connection.close()
    values = {"submit": count / (end - start), "drain": count / (drained - end)}
    return Sample(values, exact.check(path, count, len(jobs.called)))
