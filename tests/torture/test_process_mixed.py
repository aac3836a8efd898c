"""Everything at once in child processes: ends of every kind, and the oracle asked afterwards. K6 beside it."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torture_jobs
from fire import note_own_deaths
from rig import Rig

CHILDREN: dict[str, Any] = {"executor": "process", "kill_grace": 0.2}
WAYS = ("kill", "exit", "segfault")


def mix(rig: Rig, number: int) -> dict[str, list[str]]:
    """Jobs of every kind, in a random order; kind -> ids."""
    made: dict[str, list[str]] = {}

    def add(kind: str, function: Any, params: dict[str, Any] | None = None, **options: Any) -> None:
        made.setdefault(kind, []).append(rig.submit(function, params=params or {}, name=kind, **options))

    kinds = (
        "work",
        "breathe",
        "talk",
        "retry",
        "die",
        "late",
        "late coroutine",
        "cancel",
        "cancel coroutine",
        "family",
    )
    weights = (30, 20, 15, 10, 2, 2, 2, 3, 3, 12)
    for kind in rig.dice.choices(kinds, weights, k=number):
        milliseconds = rig.dice.uniform(0, 8)
        how: Any = rig.dice.choice(WAYS)
        match kind:
            case "work":
                add(kind, torture_jobs.work, {"milliseconds": milliseconds})
            case "breathe":
                add(kind, torture_jobs.breathe, {"milliseconds": milliseconds})
            case "talk":
                add(kind, torture_jobs.talk, {"milliseconds": milliseconds})
            case "retry":
                add(kind, torture_jobs.fail_first, {"milliseconds": milliseconds})
            case "die":
                add(kind, torture_jobs.die, {"how": how}, max_crashes=2)
            case "late":
                add(kind, torture_jobs.resist, {"how": "sleep"}, timeout=0.3, max_attempts=2)
            case "late coroutine":
                how = rig.dice.choice(("await", "swallow"))
                add(kind, torture_jobs.resist_async, {"how": how}, timeout=0.3, max_attempts=2)
            case "cancel":
                add(kind, torture_jobs.resist, {"how": "sleep"})
            case "cancel coroutine":
                add(kind, torture_jobs.resist_async, {"how": "await"})
            case "family":
                parents = [rig.dice.choice(made[one]) for one in ("work", "breathe", "die") if one in made]
                if parents:
                    add(kind, torture_jobs.work, {"milliseconds": milliseconds}, dependencies=parents)
    return made


def run_mix(rig: Rig, number: int, workers: int) -> None:
    made = mix(rig, number)
    running = [rig.worker(concurrency=2, async_slots=8, **CHILDREN) for _ in range(workers)]
    wanted = {job for kind in ("cancel", "cancel coroutine") for job in made.get(kind, ())}
    cancelled: set[str] = set()
    until = time.monotonic() + 600
    while time.monotonic() < until:
        stats = rig.queue.stats()
        if not stats["pending"] + stats["running"]:
            break
        for job in wanted - cancelled:
            status = rig.status(job)["status"]
            if status not in ("pending", "running") or (
                rig.starts(job) and rig.queue.cancel(job, running=True)
            ):
                cancelled.add(job)
        time.sleep(0.05)
    rig.await_all_ended(1)
    rig.stop(*running)
    rig.await_nobody_left()
    deaths = note_own_deaths(rig)
    rig.judge()
    seen = rig.evidence()
    expected = {
        "work": {"completed"},
        "breathe": {"completed", "failed"},  # failed: one that shared a process with those that crashed
        "talk": {"completed"},
        "retry": {"completed"},
        "die": {"failed"},
        "late": {"timeout"},
        "late coroutine": {"timeout", "failed"},
        "cancel": {"cancelled"},
        "cancel coroutine": {"cancelled", "failed"},
        "family": {"completed", "cancelled"},
    }
    for kind, jobs in made.items():
        for job in jobs:
            row = seen.jobs[job]
            assert row["status"] in expected[kind], rig.told(f"{kind}: {row}")
            if kind in ("work", "talk", "retry", "family"):
                assert row["crashes"] == 0, rig.told(f"{kind}: {row}")
            if kind == "talk":
                assert f"step 2 of {job}" in rig.status(job)["executions"][-1]["output"]
                assert rig.status(job)["progress"]["done"] == 2
    print(
        rig.told(f"{len(seen.jobs)} jobs, {len(rig.lines('start'))} starts, {deaths} processes ended by jobs")
    )


def test_everything_at_once(rig: Rig) -> None:
    run_mix(rig, 150, workers=2)


@pytest.mark.torture
def test_everything_at_once_for_longer(rig: Rig) -> None:
    run_mix(rig, 4_000, workers=3)


# -- K6: jobs that end their process -------------------------------------------------------------------------------


def assert_killers_fail_and_nobody_else(rig: Rig, innocents: int, concurrency: int) -> None:
    killers: list[tuple[str, str]] = []
    jobs: list[str] = []
    ways: list[tuple[Any, dict[str, Any], str]] = [
        (torture_jobs.die, {"how": "kill"}, "killed by signal 9 (SIGKILL) while running"),
        (torture_jobs.die, {"how": "exit"}, "its process ended with exit code 0 while running"),
        (torture_jobs.die, {"how": "segfault"}, "killed by signal 11 (SIGSEGV) while running"),
        (torture_jobs.devour, {"megabytes": 300}, "out of memory: its process used "),
        (torture_jobs.devour, {"megabytes": 0, "limit": 10**9}, "killed by signal 6 (SIGABRT) while running"),
    ]
    for number in range(innocents):
        jobs.append(rig.submit(torture_jobs.work, params={"milliseconds": rig.dice.uniform(0, 5)}))
        if number % (innocents // len(ways)) == innocents // len(ways) // 2:
            function, params, reason = ways[len(killers)]
            killers.append((rig.submit(function, params=params), reason))
    worker = rig.worker(concurrency=concurrency, max_memory=200_000_000, **CHILDREN)
    rig.await_all_ended(240)
    rig.stop(worker)
    rig.await_nobody_left()
    assert note_own_deaths(rig) == 3 * len(ways)
    rig.judge()
    seen = rig.evidence()
    for killer, reason in killers:
        row = seen.jobs[killer]
        assert (row["status"], row["crashes"], row["attempts"]) == ("failed", 3, 0), rig.told(str(row))
        assert row["error"].startswith(reason), rig.told(row["error"])
        assert "gave up after 3 crashes (max_crashes)" in row["error"]
        assert len(seen.starts[killer]) == 3
    for job in jobs:
        row = seen.jobs[job]
        assert (row["status"], row["attempts"], row["crashes"]) == ("completed", 1, 0), rig.told(str(row))
        assert len(seen.runs[job]) == 1, rig.told(str(seen.runs[job]))


@pytest.mark.parametrize("concurrency", [1, 2])
def test_jobs_that_end_their_child_fail_and_cost_the_others_nothing(rig: Rig, concurrency: int) -> None:
    assert_killers_fail_and_nobody_else(rig, 100, concurrency)


@pytest.mark.torture
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_thousand_others_are_not_charged_for_those_that_end_their_child(rig: Rig, concurrency: int) -> None:
    assert_killers_fail_and_nobody_else(rig, 1_000, concurrency)
