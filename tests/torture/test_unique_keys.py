"""K15: many processes submit few keys, beside workers that run, retry and are killed.

At no time have two jobs a right to one key, and whoever submits hears of one.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from rig import Process, Rig

LIVE = ["pending", "running"]
CLASHES = """
    SELECT unique_key, count(*) FROM job
    WHERE unique_key IS NOT NULL AND instr(unique_states, status) > 0 GROUP BY 1 HAVING count(*) > 1
"""


def ask(rig: Rig, text: str) -> list[tuple[Any, ...]]:
    with rig.queue._store._reading() as tx:
        return [tuple(row) for row in tx._execute(text, ()).fetchall()]


def torture(
    rig: Rig, *, submitters: int, jobs: int, keys: int, states: list[str], kills: int
) -> Counter[str]:
    """Kill workers, and one submitter for every four of them, until all has been submitted and has ended."""
    workers = [rig.worker(executor="process", concurrency=2), rig.worker(concurrency=2)]
    for worker in workers:
        rig.await_up(worker)
    crew = [
        rig._start(
            "unique",
            {"seed": rig.dice.randrange(10**9), "jobs": jobs, "keys": keys, "states": states, "pause": 5.0},
        )
        for _ in range(submitters)
    ]
    killed: set[int] = set()
    looks = 0
    while any(one.is_alive for one in crew) or len(rig.kills) < kills:
        assert not ask(rig, CLASHES), rig.told("two jobs with a right to one key")
        looks += 1
        if len(rig.kills) < kills and rig.dice.random() < 0.3:
            victim = rig.dice.choice(workers)
            rig.kill(victim)
            workers[workers.index(victim)] = rig.again(victim)
            if len(rig.kills) % 5 == 4 and (alive := [one for one in crew if one.is_alive]):
                killed.add(rig.dice.choice(alive).pid)
                rig.kill(next(one for one in alive if one.pid in killed))
        time.sleep(0.02)
    rig.await_all_ended(240)
    rig.stop(*workers)
    assert looks > 10
    judge(rig, [one for one in crew if one.pid not in killed], jobs)
    return Counter(line.what for line in rig.lines())


def judge(rig: Rig, crew: list[Process], jobs: int) -> None:
    rig.judge()
    for one in crew:
        assert one.wait() == 0, rig.told(one.said())
        answers = [
            line for line in rig.lines() if line.pid == one.pid and line.what in ("acked", "met", "refused")
        ]
        assert len(answers) == jobs, rig.told("every caller gets an answer")
    known = {row[0] for row in ask(rig, "SELECT id FROM job")}
    assert {line.job for line in rig.lines("met")} <= known
    rows = ask(
        rig,
        """
        SELECT j.unique_key, j.id, j.completed_at, j.error,
            (SELECT min(e.started_at) FROM execution AS e WHERE e.job = j.seq) FROM job AS j ORDER BY j.seq
        """,
    )
    ids = {row[1] for row in rows}
    for _, job_id, _, error, _ in rows:
        if error is not None and error.startswith("replaced by "):
            assert error.removeprefix("replaced by ") in ids - {job_id}, rig.told(error)


def test_every_caller_gets_an_answer_and_a_key_has_one_job(rig: Rig) -> None:
    found = torture(rig, submitters=3, jobs=80, keys=4, states=LIVE, kills=3)
    assert found["met"] > 0
    assert found["refused"] > 0
    for key in range(4):
        assert_one_after_the_other(rig, f"key {key}")


def assert_one_after_the_other(rig: Rig, key: str) -> None:
    """Where a key is taken until the end, the next job with it starts when the one before has ended."""
    lives = ask(
        rig,
        f"""
        SELECT (SELECT min(e.started_at) FROM execution AS e WHERE e.job = j.seq), j.completed_at
        FROM job AS j WHERE j.unique_key = '{key}' AND j.runs > 0 ORDER BY j.seq
        """,
    )
    for (_, ended), (started, _) in pairwise(lives):
        assert ended <= started, rig.told(f"{key}: {started} is before {ended}")


@pytest.mark.torture
@pytest.mark.parametrize("states", [LIVE, ["pending"]], ids=" and ".join)
def test_sixty_four_processes_with_fifty_keys(rig: Rig, states: list[str]) -> None:
    found = torture(rig, submitters=64, jobs=1_000, keys=50, states=states, kills=40)
    print(rig.told(str(found)))
    for key in range(50) if states == LIVE else ():
        assert_one_after_the_other(rig, f"key {key}")
    if states != LIVE:
        replaced = ask(
            rig, "SELECT count(*) FROM job WHERE status = 'cancelled' AND error LIKE 'replaced by %'"
        )
        assert replaced[0][0] > 0, rig.told("a retry met another")
