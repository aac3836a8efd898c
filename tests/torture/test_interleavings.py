"""K5: settle, cancel, requeue, rescue and claim in every order, on two connections: the law holds in each."""

from __future__ import annotations

import itertools
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import seed

from gigq import Job, JobQueue
from gigq.clock import SYSTEM
from gigq.errors import StoreError
from gigq.lease import Lease
from gigq.status import TERMINAL, TRANSITIONS, End, JobStatus
from gigq.store import Store
from gigq.store.claiming import Claim
from gigq.worker import settling

_TERMINAL = {status.value for status in TERMINAL}
OWN_ENDS: tuple[End, ...] = ("returned", "raised", "unstorable", "unstarted")
RESCUES: tuple[End, ...] = ("died", "timeout")


class Game:
    """One job between the worker that runs it (on one connection) and everybody else (on another)."""

    def __init__(self, worker: Store, others: Store, job: str, own: End, rescue: End) -> None:
        self.worker, self.others, self.job = worker, others, job
        self.own, self.rescue = own, rescue
        self.lease = self._take()
        self.again: Lease | None = None
        self.found: list[Lease] = []

    def _take(self) -> Lease | None:
        for lease in self.worker.exchange([], Claim(1, 100), SYSTEM.now()).claimed:
            if lease.id == self.job:
                return lease
        return None

    def row(self) -> tuple[Any, ...]:
        with self.worker.engine.reading() as connection:
            return tuple(
                connection.execute(
                    "SELECT status, execution_id, attempts, crashes, runs, result, error, completed_at FROM job "
                    "WHERE id = ?",
                    [self.job],
                ).fetchone()
            )

    def leases(self, step: str) -> list[Lease | None]:
        """Under which a step reports."""
        known: dict[str, list[Lease | None]] = {
            "settle": [self.lease],
            "settle_again": [self.again],
            "write": [*self.found],
        }
        return known.get(step, [])

    def _settle(self, store: Store, lease: Lease | None, end: End, *, late: bool) -> None:
        if lease is not None:
            what = settling.decide(lease, end, SYSTEM.now(), started_at=None, error=f"{end}")
            store.exchange([what], None, SYSTEM.now(), late=late)

    # Every step is one verb; a rescue looks, and writes later.
    def settle(self) -> None:
        self._settle(self.worker, self.lease, self.own, late=True)

    def cancel(self) -> None:
        self.others.cancel(self.job, SYSTEM.now())

    def requeue(self) -> None:
        self.others.requeue(self.job, SYSTEM.now())

    def look(self) -> None:
        self.found = [lease for lease in self.others.running() if lease.id == self.job]

    def write(self) -> None:
        for lease in self.found:
            self._settle(self.others, lease, self.rescue, late=False)

    def claim(self) -> None:
        self.again = self._take()

    def settle_again(self) -> None:
        self._settle(self.worker, self.again, "returned", late=True)


def orders(steps: list[str]) -> Iterator[tuple[str, ...]]:
    """Every order in which a rescue looks before it writes, and a second run is claimed before it is settled."""
    for order in itertools.permutations(steps):
        if order.index("look") < order.index("write") and (
            "settle_again" not in steps or order.index("claim") < order.index("settle_again")
        ):
            yield order


def play(game: Game, order: tuple[str, ...]) -> None:
    told = f"{order}, own end {game.own}, rescue {game.rescue}"
    for step in order:
        before = game.row()
        leases = game.leases(step)
        getattr(game, step)()
        after = game.row()
        status, execution = before[:2]
        if step == "requeue":
            comes_back = status in _TERMINAL - {"completed"}
            assert after[0] == ("pending" if comes_back else status), told
        elif status in _TERMINAL:
            assert after == before, f"{told}: {step} changed an ended job from {before} to {after}"
        elif step in ("settle", "settle_again", "write"):
            newest = status == "running" and any(
                lease and lease.execution_id == execution for lease in leases
            )
            assert (after != before) is newest, f"{told}: {step} of {leases} on {before} left {after}"
        elif step == "cancel":
            assert after[0] == ("cancelled" if status == "pending" else status), told


def all_games(db: str, steps: list[str]) -> int:
    queue = JobQueue(db, durability="normal")
    worker, others = queue._store, JobQueue(db, durability="full")._store
    assert worker.engine.connection() is not others.engine.connection()
    played = 0
    for own, rescue in itertools.product(OWN_ENDS, RESCUES):
        for order in orders(steps):
            job = Job(name="game", function="torture_jobs.work", max_attempts=2, max_crashes=2)
            queue.submit(job)
            play(Game(worker, others, job.id, own, rescue), order)
            if worker.result(job.id) == ("pending", None):
                worker.cancel(job.id, SYSTEM.now())  # out of the way of the next game
            played += 1
    assert_counts(queue)
    return played


def assert_counts(queue: JobQueue) -> None:
    with queue._store.engine.reading() as connection:
        real = dict(connection.execute("SELECT status, count(*) FROM job GROUP BY status").fetchall())
    assert {status: n for status, n in queue.stats().items() if n and status != "total"} == real


def test_an_ended_job_leaves_its_state_by_requeue_only_in_every_order(db: str) -> None:
    assert all_games(db, ["settle", "cancel", "requeue", "look", "write"]) == 8 * 60


@pytest.mark.torture
def test_every_order_with_a_second_run_and_a_second_requeue(db: str) -> None:
    assert (
        all_games(db, ["settle", "cancel", "requeue", "look", "write", "claim", "settle_again"]) == 8 * 1260
    )


def watch_transitions(db: str) -> None:
    """Have the database itself note every change of a status."""
    connection = sqlite3.connect(db)
    connection.execute("CREATE TABLE moves (job INTEGER, before TEXT, after TEXT)")
    connection.execute(
        "CREATE TRIGGER note_moves AFTER UPDATE OF status ON job WHEN OLD.status != NEW.status "
        "BEGIN INSERT INTO moves VALUES (OLD.seq, OLD.status, NEW.status); END"
    )
    connection.commit()
    connection.close()


def lawful() -> set[tuple[str, str]]:
    return {
        (before.value, after.value)
        for sources, targets in TRANSITIONS.values()
        for before in sources
        for after in targets
    }


def _stormy() -> Job:
    return Job(name="storm", function="torture_jobs.work", max_attempts=2)


def storm(db: str, number: int, rounds: int) -> list[BaseException]:
    """Threads with a connection each do everything at random to a handful of jobs."""
    queue = JobQueue(db, durability="normal")
    jobs = [_stormy() for _ in range(6)]
    queue.submit_many(jobs)
    watch_transitions(db)
    errors: list[BaseException] = []

    def play_at_random(dice: random.Random) -> None:
        store = queue._store  # which gives each thread a connection of its own
        leases: list[Lease] = []

        def renew() -> None:
            """What has completed never moves again: somebody else takes its place."""
            jobs[dice.randrange(len(jobs))] = new = _stormy()
            queue.submit(new)

        verbs: list[Callable[[], object]] = [
            renew,
            lambda: store.cancel(dice.choice(jobs).id, SYSTEM.now()),
            lambda: store.requeue(dice.choice(jobs).id, SYSTEM.now()),
            lambda: leases.extend(store.exchange([], Claim(1, 2), SYSTEM.now()).claimed),
            lambda: leases.extend(store.running()),
            lambda: settle_some(store, dice, leases),
        ]
        try:
            for _ in range(rounds):
                dice.choice(verbs)()
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=play_at_random, args=[random.Random(number + n)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_counts(queue)
    return errors


def settle_some(store: Store, dice: random.Random, leases: list[Lease]) -> None:
    """Report some of the runs that were seen, the newest or not, several at once."""
    dice.shuffle(leases)
    some = {lease.lease: lease for lease in leases[: dice.randint(1, 3)]}
    del leases[:]
    ends = [
        settling.decide(
            lease, dice.choice([*OWN_ENDS, *RESCUES]), SYSTEM.now(), started_at=None, error="storm"
        )
        for lease in some.values()
    ]
    if ends:
        store.exchange(ends, None, SYSTEM.now(), late=dice.random() < 0.5)


def assert_lawful_after_storm(db: str, rounds: int) -> int:
    number = seed()
    errors = storm(db, number, rounds)
    connection = sqlite3.connect(db)
    moves = connection.execute("SELECT before, after, count(*) FROM moves GROUP BY before, after").fetchall()
    runs = connection.execute("SELECT job, count(*), max(run) FROM execution GROUP BY job").fetchall()
    connection.close()
    told = f"seed: GIGQ_SEED={number}"
    assert not errors, f"{errors}\n{told}"
    assert {(before, after) for before, after, _ in moves} <= lawful(), told
    assert all(count == newest for _, count, newest in runs), told
    return sum(count for *_, count in moves)


def test_a_storm_of_verbs_moves_jobs_only_as_the_law_allows(db: str) -> None:
    assert assert_lawful_after_storm(db, 150) > 50


@pytest.mark.torture
def test_a_long_storm_of_verbs(db: str, tmp_path: Path) -> None:
    print(f"{assert_lawful_after_storm(db, 20_000)} moves")


def test_the_law_has_no_way_out_of_an_end_but_requeue() -> None:
    """What the storm is measured by."""
    ways_out = {move for move, (sources, _) in TRANSITIONS.items() if sources & TERMINAL}
    assert ways_out == {"requeue", "give_way"}, "and that leads to another end"
    assert TRANSITIONS["give_way"][1] <= TERMINAL
    assert JobStatus.COMPLETED not in TRANSITIONS["requeue"][0]
