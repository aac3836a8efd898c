"""The gate: one at a time among threads and processes, in turn, and never kept by the dead."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from gates import Gates, MakeLocks
from processes import PATIENCE

from gigq.store import gate as gate_module
from gigq.store.gate import FileGate, ThreadGate
from gigq.store.locks import ByteLocks, FileLocks


@pytest.fixture(params=[ByteLocks, FileLocks])
def make_locks(request: pytest.FixtureRequest) -> MakeLocks:
    """Locks on bytes of one file, and those for platforms that have none."""
    made: MakeLocks = request.param
    return made


@pytest.fixture
def gates(tmp_path: Path, make_locks: MakeLocks) -> Iterator[Gates]:
    made = Gates(tmp_path / "jobs.db-lock", make_locks)
    yield made
    for gate in made.made:
        gate.close()


class Room:
    """Whatever the gate leads to: it notices when two are inside."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self.visits: list[str] = []

    def visit(self, who: str = "") -> None:
        assert self._alone.acquire(blocking=False), "somebody else is inside"
        self.visits.append(who)
        time.sleep(0.0005)
        self._alone.release()


def in_threads(*actions: Callable[[], object]) -> None:
    """Run them at once; the first thing that goes wrong is raised."""
    problems: list[BaseException] = []

    def run(action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread waits for ever"
    if problems:
        raise problems[0]


# -- one at a time -----------------------------------------------------------------------------------------------


def test_two_processes_are_never_inside_together(gates: Gates) -> None:
    room = Room()

    def visit_often(gate: FileGate) -> None:
        for _ in range(50):
            assert gate.acquire(PATIENCE)
            room.visit()
            gate.release()

    in_threads(*[partial(visit_often, gates.another()) for _ in range(3)])
    assert len(room.visits) == 150


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_two_threads_are_never_inside_together(gates: Gates, kind: str) -> None:
    gate, room = gates.another() if kind == "file" else ThreadGate(), Room()

    def visit_often() -> None:
        for _ in range(50):
            assert gate.acquire(PATIENCE)
            room.visit()
            gate.release()

    in_threads(*[visit_often] * 4)
    assert len(room.visits) == 200


def test_no_mixture_of_haste_lets_two_inside(gates: Gates) -> None:
    """Threads of several processes that wait long, wait shortly, keep their places, come back for them, or leave."""
    room, ring = Room(), threading.Event()

    def be_hasty(gate: FileGate, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(60):
            how = chance.choice(["long", "short", "keep", "leave"])
            wait = PATIENCE if how == "long" else chance.random() * 0.003
            if gate.acquire(wait, ring.set if how in ("keep", "leave") else None):
                room.visit()
                gate.release()
            elif how == "leave":
                gate.leave_line()
        gate.leave_line()

    crowd = [gates.another() for _ in range(2)]
    in_threads(*[partial(be_hasty, gate, seed) for seed, gate in enumerate(crowd * 3)])
    assert gates.another().acquire(PATIENCE), "and in the end nobody has kept it"


def test_who_is_inside_may_enter_again(gates: Gates) -> None:
    mine, other = gates.another(), gates.another()
    assert mine.acquire(0)
    assert mine.acquire(0)
    mine.release()
    assert not other.acquire(0.01)
    mine.release()
    assert other.acquire(PATIENCE)


def test_a_gate_of_one_process_may_be_entered_again_too() -> None:
    gate = ThreadGate()
    assert gate.acquire(0)
    assert gate.acquire(0)
    gate.release()
    answers: list[bool] = []
    in_threads(lambda: answers.append(gate.acquire(0.01)))
    gate.release()
    in_threads(lambda: answers.append(gate.acquire(PATIENCE)))
    assert answers == [False, True]


# -- in turn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["another process", "another thread", "in memory"])
def test_a_busy_loop_cannot_barge(gates: Gates, where: str) -> None:
    busy: ThreadGate = ThreadGate() if where == "in memory" else gates.another()
    patient = gates.another() if where == "another process" else busy
    room, is_over = Room(), threading.Event()

    def rush() -> None:
        while not is_over.is_set():
            assert busy.acquire(PATIENCE)
            room.visit("busy")
            busy.release()

    def wait_in_turn() -> None:
        try:
            for _ in range(20):
                assert patient.acquire(PATIENCE)
                room.visit("patient")
                patient.release()
        finally:
            is_over.set()

    in_threads(rush, wait_in_turn)
    between = [len(list(group)) for who, group in itertools.groupby(room.visits) if who == "busy"]
    # Were it not for the turnstile, the loop would pass hundreds of times for each turn of the other.
    assert sum(between) / 20 < 10


def test_a_place_in_line_is_kept_while_its_owner_does_other_things(gates: Gates) -> None:
    holder, mine, late = gates.another(), gates.another(), gates.another()
    rung = threading.Event()
    assert holder.acquire(0)
    assert not mine.acquire(0.01, rung.set)
    assert not rung.is_set()
    holder.release()
    assert rung.wait(PATIENCE)
    assert not late.acquire(0.01), "the turn is mine"
    assert mine.acquire(0)
    mine.release()
    assert late.acquire(PATIENCE)


def test_a_turn_that_nobody_comes_for_is_given_to_the_next(
    gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner had something to write when it asked, and has nothing any more."""
    monkeypatch.setattr(gate_module, "_KEPT", 0.05)
    holder, mine, late = gates.another(), gates.another(), gates.another()
    rung = threading.Event()
    assert holder.acquire(0)
    assert not mine.acquire(0.01, rung.set)
    holder.release()
    assert rung.wait(PATIENCE)
    assert late.acquire(PATIENCE)
    assert not mine.acquire(0.01), "it has to wait anew"
    late.release()
    assert mine.acquire(PATIENCE)


@pytest.mark.parametrize("when", ["before the turn has come", "after it has come"])
def test_who_leaves_the_line_holds_nobody_up(gates: Gates, when: str) -> None:
    holder, mine, late = gates.another(), gates.another(), gates.another()
    rung = threading.Event()
    assert holder.acquire(0)
    assert not mine.acquire(0.01, rung.set)
    if when == "before the turn has come":
        mine.leave_line()
        holder.release()
    else:
        holder.release()
        assert rung.wait(PATIENCE)
        mine.leave_line()
    assert late.acquire(PATIENCE)
    late.release()
    assert mine.acquire(PATIENCE)


def test_who_gave_up_waiting_holds_nobody_up(gates: Gates) -> None:
    holder, mine, late = gates.another(), gates.another(), gates.another()
    assert holder.acquire(0)
    assert not mine.acquire(0.01)
    holder.release()
    assert late.acquire(PATIENCE)
    assert not mine.acquire(0.01)
    late.release()
    assert mine.acquire(PATIENCE)


def test_a_thread_that_leaves_the_line_does_not_take_the_place_of_another(gates: Gates) -> None:
    holder, mine = gates.another(), gates.another()
    rung = threading.Event()
    assert holder.acquire(0)
    assert not mine.acquire(0.01, rung.set)
    in_threads(mine.leave_line)
    holder.release()
    assert rung.wait(PATIENCE), "the place was kept"
    assert mine.acquire(0)
