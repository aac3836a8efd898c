"""Retention: what goes when, what stays, how little is looked at for it, and that the file becomes smaller."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import jobs
import pytest
from clocks import TurnedClock
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import wait_until
from stores import Hands, assert_sound, new_job

from gigq import InvalidJob, Job, JobQueue, Worker
from gigq.store import clearing, open_memory, space
from gigq.worker import upkeep
from gigq.worker.chores.retention import Retention

DAY = 86400.0
ENDS = ("completed", "failed", "cancelled", "timeout")


@pytest.fixture
def hands(queue: JobQueue, clock: TurnedClock) -> Hands:
    return Hands(queue._store, clock)


@pytest.fixture
def chore(queue: JobQueue, clock: TurnedClock) -> Retention:
    return Retention(queue._store, clock)


def work(chore: Retention, clock: TurnedClock) -> int:
    """Turns until there is nothing more to do at this moment; how many jobs went."""
    chore.learn()
    gone = 0
    for _ in range(1000):
        gone += chore.run_once()
        chore._rest_until = 0
        if chore.seconds_left() > 0:
            return gone
    raise AssertionError("it never ends")


def drain(hands: Hands) -> None:
    """Run what is ready, many at once."""
    while leases := hands.claim(1000):
        hands.exchange([hands.outcome(lease) for lease in leases])


# -- what is said ------------------------------------------------------------------------------------------------


def test_it_is_off_until_it_is_set_and_then_stored_with_the_queue(queue: JobQueue, db: str) -> None:
    assert queue.retention() == dict.fromkeys(ENDS)
    assert queue.retain(completed="7d", failed=timedelta(days=30)) == {
        **dict.fromkeys(ENDS),
        "completed": 7 * DAY,
        "failed": 30 * DAY,
    }
    assert queue.retain(completed=None, cancelled=90)["failed"] == 30 * DAY
    if queue.db_path == db:
        assert JobQueue(db).retention() == {
            "completed": None,
            "failed": 30 * DAY,
            "cancelled": 90.0,
            "timeout": None,
        }


@pytest.mark.parametrize("bad", [0, -5, "soon", True, float("nan"), [1]], ids=repr)
def test_what_is_no_age_is_refused_and_nothing_is_changed(queue: JobQueue, bad: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^failed: "):
        queue.retain(completed="7d", failed=bad)
    assert queue.retention() == dict.fromkeys(ENDS)


# -- what goes ---------------------------------------------------------------------------------------------------


def end_one_of_each(hands: Hands) -> None:
    hands.submit(*(new_job(end, max_attempts=1) for end in ENDS))
    for end in ENDS:
        hands.end(end, end)
    hands.submit("pending")


def test_nothing_goes_unless_somebody_said_so(hands: Hands, chore: Retention, clock: TurnedClock) -> None:
    end_one_of_each(hands)
    clock.turn(1000 * DAY)
    assert work(chore, clock) == 0
    assert set(hands.statuses()) == {*ENDS, "pending"}


@pytest.mark.parametrize("status", ENDS)
def test_jobs_of_a_status_go_when_they_are_old_enough_and_no_others(
    queue: JobQueue, hands: Hands, chore: Retention, clock: TurnedClock, status: str
) -> None:
    end_one_of_each(hands)
    queue.retain(**{status: "7d"})
    clock.turn(7 * DAY)
    assert work(chore, clock) == 0
    clock.turn(7 * DAY / 50)
    assert work(chore, clock) == 1
    assert set(hands.statuses()) == {*ENDS, "pending"} - {status}
    assert_sound(hands)


def test_a_shorter_age_is_heard_and_so_is_none(
    queue: JobQueue, hands: Hands, chore: Retention, clock: TurnedClock
) -> None:
    end_one_of_each(hands)
    queue.retain(completed="7d", failed="7d")
    work(chore, clock)
    clock.turn(3600)
    queue.retain(completed=60, failed=None)
    assert work(chore, clock) == 1
    clock.turn(100 * DAY)
    assert work(chore, clock) == 0
    assert "completed" not in hands.statuses()


def test_what_others_still_depend_on_is_spared_and_goes_later(
    queue: JobQueue, hands: Hands, chore: Retention, clock: TurnedClock
) -> None:
    queue.retain(completed=60, cancelled=60)
    hands.submit("parent", new_job("child", ["parent"]), "alone")
    hands.run("parent")
    hands.cancel("alone")
    clock.turn(120)
    assert work(chore, clock) == 1
    assert set(hands.statuses()) == {"parent", "child"}
    hands.run("child")
    clock.turn(700)
    assert work(chore, clock) == 2
    assert hands.statuses() == {}


def test_a_chain_of_cancelled_jobs_goes_in_one_pass(
    queue: JobQueue, hands: Hands, chore: Retention, clock: TurnedClock
) -> None:
    hands.submit("0", *(new_job(str(n), [str(n - 1)]) for n in range(1, 20)))
    hands.cancel("0")
    queue.retain(cancelled=60)
    clock.turn(100)
    assert work(chore, clock) == 20


def test_a_job_that_was_started_anew_meanwhile_stays(
    queue: JobQueue, hands: Hands, chore: Retention, clock: TurnedClock
) -> None:
    end_one_of_each(hands)
    clock.turn(100)
    before = clock.now()
    assert hands.store.sweep("failed", before, 0, clearing.END, hands.clock.now()).may_go
    hands.requeue("failed")
    clock.turn(1)
    assert [lease.id for lease in hands.claim()] == ["failed"]
    assert hands.store.let_go("failed", [2], before, hands.clock.now()) == (0, [])
    assert hands.status("failed") == "running"


def test_two_workers_at_it_do_no_harm(queue: JobQueue, hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*(str(n) for n in range(50)))
    drain(hands)
    queue.retain(completed=60)
    clock.turn(100)
    both = [Retention(queue._store, clock) for _ in range(2)]
    for chore in both:
        chore.learn()
    stale = both[1]._sweeps["completed"]
    stale.look(queue._store, clock.now())
    assert work(both[0], clock) == 50
    assert work(both[1], clock) == 0
    assert_sound(hands)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["submit", "end", "turn", "turn", "work"]), st.integers(1, 40)), max_size=60
    )
)
def test_nothing_goes_too_early_and_nothing_stays_much_too_long(steps: list[tuple[str, int]]) -> None:
    """Jobs end in any order, long after others that were submitted later."""
    clock, age = TurnedClock(), 1000
    hands = Hands(open_memory(), clock)
    hands.store.retain({"completed": age * 1_000_000})
    chore = Retention(hands.store, clock)
    running: list[Any] = []
    ended: dict[str, int] = {}
    count = 0
    for what, n in [*steps, ("turn", 40), ("work", 1)]:
        if what == "submit":
            hands.submit(*(str(count + k) for k in range(n)))
            count += n
            running += hands.claim(n)
        elif what == "end":
            some = [running.pop(k % len(running)) for k in range(n * 7) if running][:n]
            hands.exchange([hands.outcome(lease) for lease in some])
            ended |= {lease.id: clock.now() for lease in some}
        elif what == "turn":
            clock.turn(n * 20)
        else:
            work(chore, clock)
            there = {name for name, status in hands.statuses().items() if status == "completed"}
            now = clock.now()
            young = {name for name, at in ended.items() if now - at <= age * 1_000_000}
            old = {name for name, at in ended.items() if now - at > (age + age // 50) * 1_000_000}
            assert young <= there
            assert not old & there, "what was looked at once is known to the second"
    assert_sound(hands)


def test_a_clock_that_is_put_back_stops_nothing(
    queue: JobQueue, hands: Hands, chore: Retention, clock: TurnedClock
) -> None:
    queue.retain(completed=60)
    work(chore, clock)
    clock._now -= round(1000 * DAY * 1e6)
    hands.submit("a")
    hands.run("a")
    clock.turn(62)
    assert work(chore, clock) == 1


# -- what it costs -----------------------------------------------------------------------------------------------


def test_what_was_looked_at_is_not_looked_at_again_before_it_is_old_enough(
    queue: JobQueue, hands: Hands, chore: Retention, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "_LOOKED_AT", 10)
    looks: Counter[str] = Counter()
    sweep = queue._store.sweep

    def counted(status: str, *where: int) -> Any:
        looks[status] += 1
        return sweep(status, *where)

    monkeypatch.setattr(queue._store, "sweep", counted)
    queue.retain(completed=5000, failed=5000)
    for n in range(20):
        hands.submit(*(f"{n}-{k}" for k in range(10)))
        drain(hands)
        clock.turn(10)
    work(chore, clock)
    assert 20 <= looks["completed"] <= 22
    looks.clear()
    for _ in range(40):
        clock.turn(100)
        work(chore, clock)
    assert looks["completed"] <= 2
    clock.turn(700)
    assert work(chore, clock) == 0
    clock.turn(101)
    assert work(chore, clock) > 0
    assert looks["completed"] < 30


def test_where_nothing_is_old_enough_nothing_is_written(
    queue: JobQueue, hands: Hands, chore: Retention, clock: TurnedClock
) -> None:
    queue.retain(completed="7d")
    hands.submit("a")
    hands.run("a")
    work(chore, clock)
    before = hands.sql("SELECT total_changes()")
    for _ in range(50):
        clock.turn(600)
        assert work(chore, clock) == 0
    assert hands.sql("SELECT total_changes()") == before


def test_pieces_become_smaller_where_they_take_long(
    queue: JobQueue, hands: Hands, chore: Retention, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "_SLOW", -1.0)
    queue.retain(completed=60)
    hands.submit(*(str(n) for n in range(1500)))
    drain(hands)
    clock.turn(70)
    chore.learn()
    pieces = []
    for _ in range(8):
        chore._rest_until = 0
        pieces.append(chore.run_once())
    assert pieces[:6] == [500, 250, 125, 62, 31, 20]


def test_a_parent_of_very_many_goes_in_pieces_and_its_children_keep_its_id(
    queue: JobQueue, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "PIECE", 10)
    hands.submit("parent", *(new_job(f"c{n}", ["parent"]) for n in range(25)))
    hands.run("parent")
    drain(hands)
    assert hands.store.let_go("completed", [1], None, hands.clock.now()) == (0, [1])
    assert_sound(hands)
    assert queue.get_status("c3")["dependencies"] == ["parent"]
    assert hands.clear() == 26


def test_a_worker_sees_to_it(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_EVERY", 20_000_000)
    queue = JobQueue(db, durability="normal")
    queue.retain(completed=0.05)
    queue.submit_many([Job("one", jobs.nothing) for _ in range(30)])
    kept = queue.submit(Job("fails", jobs.fail, max_attempts=1))
    worker = Worker(db)
    thread = threading.Thread(target=worker.start)
    thread.start()
    try:
        wait_until(lambda: queue.stats()["total"] == 1, "all that completed to go")
    finally:
        worker.stop()
        thread.join()
    assert queue.get_status(kept)["status"] == "failed"


# -- the file ----------------------------------------------------------------------------------------------------


def fill(queue: JobQueue, n: int = 600) -> None:
    """Some 5 MB of jobs that have completed."""
    queue.submit_many([Job("one", jobs.nothing, {"x": "y" * 8000}) for _ in range(n)])
    drain(Hands(queue._store, TurnedClock()))


def size(queue: JobQueue) -> int:
    return Path(queue.db_path).stat().st_size


@pytest.fixture
def on_disk(db: str, clock: TurnedClock) -> JobQueue:
    return JobQueue(db, durability="normal", clock=clock)


def test_a_queue_with_retention_gives_its_room_back(on_disk: JobQueue, clock: TurnedClock) -> None:
    on_disk.retain(completed="1h")
    fill(on_disk)
    full = size(on_disk) if size(on_disk) > 4_000_000 else 5_000_000
    clock.turn(2 * 3600)
    assert work(Retention(on_disk._store, clock), clock) == 600
    assert size(on_disk) < full / 2
    assert on_disk._store.room().too_many == 0
    assert_sound(Hands(on_disk._store, clock))
    fill(on_disk, 50)
    assert on_disk.stats()["completed"] == 50


def test_so_does_clearing_by_hand(on_disk: JobQueue) -> None:
    on_disk.retain(failed="30d")
    fill(on_disk)
    assert on_disk.clear_completed() == 600
    assert size(on_disk) < 2_000_000


def test_a_quarter_of_the_file_stays_for_what_comes_next(on_disk: JobQueue) -> None:
    on_disk.retain(failed="30d")
    fill(on_disk)
    on_disk._store.let_go("completed", list(range(1, 101)), None, on_disk.clock.now())
    assert not on_disk._store.give_back()
    assert on_disk._store.room().free > 100


def test_a_file_that_is_full_already_is_not_written_anew_in_passing(
    on_disk: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(on_disk)
    monkeypatch.setattr(space, "_AT_ONCE", 1_000_000)
    on_disk.retain(completed="1h")
    assert not on_disk._store.room().gives_back
    on_disk.clear_completed()
    assert on_disk._store.room().too_many > 0
    on_disk._store.compact()
    room = on_disk._store.room()
    assert room.gives_back
    assert room.free == 0
    assert size(on_disk) < 1_000_000
    assert on_disk.retention()["completed"] == 3600.0


def test_giving_back_takes_as_many_turns_as_it_needs(
    on_disk: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk.retain(failed="30d")
    fill(on_disk)
    monkeypatch.setattr(space, "_A_WHILE", 0.0005)
    on_disk._store.let_go("completed", list(range(1, 601)), None, on_disk.clock.now())
    turns = 0
    while on_disk._store.give_back():
        turns += 1
    assert turns > 5
    assert_sound(Hands(on_disk._store, TurnedClock()))
