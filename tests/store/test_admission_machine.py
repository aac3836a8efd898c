"""Random histories of jobs with limits: none is ever exceeded, nobody waits in vain, and all is done in the end."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from clocks import TurnedClock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from limited import Watched, assert_limits_are_sound, limited, share
from stores import Hands, Kind, assert_sound, open_kind

from gigq import close_connections
from gigq.limits import Share
from gigq.newjob import NewJob
from gigq.queues import Serving
from gigq.status import End
from gigq.store import admission, rooms

ENDS: st.SearchStrategy[End] = st.sampled_from(
    ["returned", "returned", "raised", "timeout", "died", "stopped", "unstarted", "hindered", "unavailable"]
)
KEYS = ("a", "b", "r", "x")
QUEUES = ("default", "other")
PER = {"r": 1.0, "x": 3.0}
"""Seconds: the time of a rate does not change in mid-history, for of a longer one not all starts would be known."""


class Machine(RuleBasedStateMachine):
    """A store with jobs that have limits, and what somebody beside it writes down."""

    kind: ClassVar[Kind] = "memory"
    few: ClassVar[tuple[int, int]] = (4, 256)
    ahead: ClassVar[int] = 1000

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = TurnedClock()
        self.hands = Hands(open_kind(self.kind, Path(self.folder.name)), self.clock)
        self.watched = Watched(self.hands)
        self.number = 0
        self.keys: list[str] = []
        self.real = (admission._FEW, admission._MANY), rooms.AHEAD
        (admission._FEW, admission._MANY), rooms.AHEAD = self.few, self.ahead

    def teardown(self) -> None:
        try:
            self.finish()
            assert_sound(self.hands)
        finally:
            (admission._FEW, admission._MANY), rooms.AHEAD = self.real
            self.hands.store.engine.close()
            close_connections()
            self.folder.cleanup()

    @initialize(keys=st.lists(st.sampled_from(KEYS), unique=True, min_size=1, max_size=3), data=st.data())
    def begin(self, keys: list[str], data: st.DataObject) -> None:
        self.keys = keys
        self.submit(data, 4)
        self.claim_all("default")

    # -- what clients and operators do ---------------------------------------------------------------------------

    @precondition(lambda self: len(self.watched.waiting()) < 12)
    @rule(data=st.data(), count=st.integers(1, 4))
    def submit(self, data: st.DataObject, count: int) -> None:
        jobs: list[NewJob] = []
        for _ in range(count):
            known = [row[0] for row in self.hands.sql("SELECT id FROM job")] + [job.id for job in jobs]
            parents = data.draw(st.lists(st.sampled_from(known), max_size=1)) if known else []
            self.number += 1
            jobs.append(
                limited(
                    f"job-{self.number}",
                    *self.shares(data),
                    parents=parents,
                    priority=data.draw(st.integers(-1, 1)),
                    policy=data.draw(st.sampled_from(["cancel", "run"])),
                    max_attempts=data.draw(st.integers(1, 3)),
                    retry_delay=data.draw(st.sampled_from([0, 0, 1])),
                    queue=data.draw(st.sampled_from(QUEUES)),
                )
            )
        self.watched.submit(*jobs)

    def shares(self, data: st.DataObject) -> list[Share]:
        return [
            share(
                key,
                data.draw(st.integers(1, 3)) if key in "abx" else None,
                (data.draw(st.integers(1, 4)), PER[key]) if key in "rx" else None,
                data.draw(st.sampled_from([1, 1, 2, 4])),
            )
            for key in data.draw(st.sampled_from([self.keys, self.keys, self.keys[:1], self.keys[1:]]))
        ]

    @rule(data=st.data(), concurrency=st.none() | st.integers(1, 3), amount=st.integers(1, 4))
    def set_limit(self, data: st.DataObject, concurrency: int | None, amount: int) -> None:
        key = data.draw(st.sampled_from(self.keys))
        self.watched.set_limit(key, concurrency, (amount, PER[key]) if key in PER else None)

    @precondition(lambda self: self.watched.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.hands.cancel(data.draw(st.sampled_from(sorted(self.watched.jobs))))

    @precondition(lambda self: self.watched.jobs)
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        self.hands.requeue(data.draw(st.sampled_from(sorted(self.watched.jobs))))

    @rule()
    def clear(self) -> None:
        self.hands.clear()
        self.hands.store.tidy_limits(0, 0, self.clock.now())

    @rule()
    def release_held(self) -> None:
        self.hands.store.release_held("import:jobs", "nothing", None)

    # -- what workers do -----------------------------------------------------------------------------------------

    @rule(data=st.data(), want=st.integers(0, 4), queue=st.sampled_from(QUEUES))
    def exchange(self, data: st.DataObject, want: int, queue: str) -> None:
        ends = [(lease, data.draw(ENDS)) for lease in self.watched.running if data.draw(st.booleans())]
        self.watched.exchange(ends, want, queue)

    @rule(queue=st.sampled_from(QUEUES))
    def claim_all(self, queue: str) -> None:
        for _ in range(100):
            self.watched.exchange([], 50, queue)
            if not self.hands.store.peek(Serving([queue])).has_work(self.clock.now()):
                break
        else:
            raise AssertionError("a worker would never come to rest")
        self.watched.assert_nobody_waits_in_vain()

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.5, 1.0, 2.0]))
    def turn_clock(self, seconds: float) -> None:
        self.clock.turn(seconds)

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def nothing_contradicts_anything(self) -> None:
        assert_limits_are_sound(self.hands)

    def finish(self) -> None:
        """A worker that looks when it is told to, and never otherwise, comes to the end of it."""
        self.hands.finish()
        for _ in range(2000):
            self.hands.store.release_held("import:jobs", "nothing", None)
            peeks = {queue: self.hands.store.peek(Serving([queue])) for queue in QUEUES}
            ready = [queue for queue, peek in peeks.items() if peek.has_work(self.clock.now())]
            if ready:
                for queue in ready:
                    self.watched.exchange([], 3, queue)
            elif self.watched.running:
                self.watched.exchange([(lease, "returned") for lease in self.watched.running[:2]])
            else:
                due = [peek.next_due for peek in peeks.values() if peek.next_due is not None]
                if not due:
                    break
                self.clock.turn((min(due) - self.clock.now()) / 1e6)
        left = self.hands.sql("SELECT id, held_by, parents_left, due_at FROM job WHERE status = 'pending'")
        assert left == []


class OnFile(Machine):
    """The same on a file."""

    kind = "file"


class InSmallPieces(Machine):
    """The same with looks so small that something is nearly always left over."""

    few = (1, 1)
    ahead = 2


SOME = settings(
    stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
MANY = settings(SOME, max_examples=1000, stateful_step_count=60, derandomize=False, print_blob=True)


def test_limits_are_kept_in_memory() -> None:
    run_state_machine_as_test(Machine, settings=settings(SOME, max_examples=35))


def test_limits_are_kept_in_a_file() -> None:
    run_state_machine_as_test(OnFile, settings=settings(SOME, max_examples=10))


def test_work_left_over_changes_nothing_in_the_end() -> None:
    run_state_machine_as_test(InSmallPieces, settings=settings(SOME, max_examples=30))


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine", [Machine, OnFile, InSmallPieces])
def test_thousands_of_histories_with_limits_at_random(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=MANY)
