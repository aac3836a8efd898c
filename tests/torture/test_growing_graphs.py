"""K17 with real workers: graphs that grow, fail and are cancelled, while workers and their children are killed."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from graphs import Seen, violations
from rig import Rig
from torture_jobs import growing

from gigq import Workflow


def spec(rig: Rig, name: str, depth: int) -> dict[str, Any]:
    """What a job will do, and those that it adds."""
    count = rig.dice.choice((0, 0, 1, 4)) if depth < 2 else 0
    return {
        "name": name,
        "policy": rig.dice.choice(("cancel", "cancel", "run")),
        "adds": [spec(rig, f"{name}.{n}", depth + 1) for n in range(count)],
        "fails": rig.dice.random() < 0.05,
    }


def submit(rig: Rig, size: int) -> Workflow:
    workflow = Workflow("random")
    for n in range(size):
        parents = rig.dice.sample(workflow.jobs, min(n, rig.dice.choice((0, 1, 1, 2, 3))))
        workflow.add_job(growing(**spec(rig, f"{n}", 0)), parents)
    workflow.submit_all(rig.queue)
    return workflow


def disturb(rig: Rig, workflow: Workflow, kills: int) -> set[str]:
    """Kill workers and children, and cancel some jobs, until all have ended; those that were called off."""
    called_off: set[str] = set()
    workers = [rig.worker(executor=executor, concurrency=2) for executor in ("thread", "process", "process")]
    for worker in workers:
        rig.await_up(worker)
    while rig.queue.workflow(workflow.id).can_go_on():
        time.sleep(rig.dice.uniform(0.01, 0.1))
        if rig.dice.random() < 0.2:
            [job] = rig.dice.sample(workflow.jobs, 1)
            if rig.queue.cancel(job.id):
                called_off.add(job.id)
        if len(rig.kills) < kills:
            place = rig.dice.randrange(3)
            # Of three children in a row that are killed before they are up, a worker learns that none will be.
            busy = {line.pid for line in rig.lines("start")}
            if place and busy.issuperset(rig.children(workers[place])):
                rig.kill_child(workers[place])
            elif not place:
                rig.kill(workers[place])
                workers[place] = rig.again(workers[place])
    rig.stop(*workers)
    return called_off


def judge(rig: Rig, workflow: Workflow, called_off: set[str]) -> None:
    jobs = {job["id"]: job for job in rig.queue.workflow(workflow.id).jobs()}
    seen = [
        Seen(job["id"], job["status"], job["on_parent_failure"], job["dependencies"]) for job in jobs.values()
    ]
    assert violations(seen, called_off) == [], rig.told("")
    rig.judge()
    names = Counter(job["name"] for job in jobs.values())
    expected = Counter(str(n) for n in range(len(workflow.jobs)))
    for job in jobs.values():
        if job["status"] == "completed":
            expected.update(spec["name"] for spec in job["params"]["adds"])
    assert names == expected, rig.told("what a completed run adds is there once, and nothing else")


def test_graphs_grow_and_end_while_workers_are_killed(rig: Rig) -> None:
    workflow = submit(rig, 60)
    judge(rig, workflow, disturb(rig, workflow, kills=4))


@pytest.mark.torture
@pytest.mark.parametrize("number", range(20))
def test_graphs_of_two_hundred(rig: Rig, number: int) -> None:
    workflow = submit(rig, 200)
    judge(rig, workflow, disturb(rig, workflow, kills=12))
