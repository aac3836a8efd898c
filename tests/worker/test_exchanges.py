"""Exchanges: what has ended waits until it is stored, whether that is done here or beside the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jobs
import pytest
from clocks import TurnedClock
from crews import working
from processes import PATIENCE, wait_until
from stores import Hands, new_job

from gigq import Job, JobQueue
from gigq.errors import StoreBusy, StoreFull, StoreReplaced
from gigq.store import Store, connections, open_file
from gigq.store.claiming import Claim
from gigq.store.rows import Exchanged, Settlement
from gigq.worker import settling
from gigq.worker.exchanges import Exchanges

MANY, FEW = 80, 3


class Gated:
    """Holds up every exchange of a store until it is let go, and can make it fail."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.threads: list[str] = []
        self.error: Exception | None = None
        real = Store.exchange

        def exchange(mine: Store, *what: Any, **how: Any) -> Exchanged:
            self.threads.append(threading.current_thread().name)
            assert self.go.wait(PATIENCE)
            if self.error is not None:
                raise self.error
            return real(mine, *what, **how)

        monkeypatch.setattr(Store, "exchange", exchange)


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    return Hands(open_file(str(tmp_path / "jobs.db"), "normal", create=True), TurnedClock())


@pytest.fixture
def exchanges(hands: Hands) -> Iterator[Exchanges]:
    made = Exchanges(hands.store, hands.clock, "a worker", lambda: None, beside=True)
    yield made
    made.close()


def returned(hands: Hands, count: int) -> list[Settlement]:
    """Of jobs that were claimed and have ended well."""
    hands.submit(*[new_job(f"{count}-{n}") for n in range(count)])
    leases = hands.store.exchange([], Claim(1, count), hands.clock.now()).claimed
    assert len(leases) == count
    now = hands.clock.now()
    return [settling.returned(lease, now, now, "1") for lease in leases]


def test_a_large_one_goes_on_beside_the_loop_which_can_be_told_more(
    hands: Hands, exchanges: Exchanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, few = returned(hands, MANY), returned(hands, FEW)
    gated = Gated(hands.store, monkeypatch)
    exchanges.ended += many
    exchanges.begin(None, [])
    wait_until(lambda: gated.threads, "it has begun")
    assert gated.threads != [threading.current_thread().name]
    assert (exchanges.is_under_way, exchanges.is_answered, exchanges.ended) == (True, False, [])
    exchanges.ended += few
    gated.go.set()
    written = exchanges.finish()
    assert written is not None
    assert written.order.ended == many
    assert (exchanges.is_under_way, exchanges.ended) == (False, few), "the next ones are kept"
    assert hands.store.stats()["completed"] == MANY


def test_a_small_one_is_made_here(
    hands: Hands, exchanges: Exchanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges.ended += returned(hands, FEW)
    gated = Gated(hands.store, monkeypatch)
    gated.go.set()
    exchanges.begin(Claim(1, 1), [])
    assert exchanges.is_answered
    assert exchanges.finish() is not None
    assert gated.threads == [threading.current_thread().name]


@pytest.mark.parametrize("count", [MANY, FEW])
@pytest.mark.parametrize("error", [StoreBusy("others write"), StoreFull("no room")])
def test_what_could_not_be_stored_is_kept_before_what_came_later(
    hands: Hands, exchanges: Exchanges, monkeypatch: pytest.MonkeyPatch, count: int, error: Exception
) -> None:
    first, later = returned(hands, count), returned(hands, 1)
    gated = Gated(hands.store, monkeypatch)
    gated.error = error
    exchanges.ended += first
    exchanges.begin(None, [])
    exchanges.ended += later
    gated.go.set()
    assert exchanges.finish() is None
    assert exchanges.ended == first + later
    assert exchanges.is_in_trouble == isinstance(error, StoreFull)
    assert exchanges.may_try == isinstance(error, StoreBusy), "after trouble there is a pause"
    hands.clock.turn(2)
    assert exchanges.may_try
    gated.error = None
    exchanges.begin(None, [])
    assert exchanges.finish() is not None
    assert hands.store.stats()["completed"] == count + 1
    assert not exchanges.is_in_trouble


@pytest.mark.parametrize("count", [MANY, FEW])
def test_a_replaced_database_is_told_in_the_loop_and_nothing_is_dropped(
    hands: Hands, exchanges: Exchanges, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    ended = returned(hands, count)
    gated = Gated(hands.store, monkeypatch)
    gated.error = StoreReplaced("another file")
    gated.go.set()
    exchanges.ended += ended
    exchanges.begin(None, [])
    with pytest.raises(StoreReplaced, match="another file"):
        exchanges.finish()
    assert exchanges.ended == ended


def test_a_late_run_in_a_large_one_is_found(hands: Hands, exchanges: Exchanges) -> None:
    ended = returned(hands, MANY)
    hands.store.exchange([ended[5]], None, hands.clock.now())
    exchanges.ended += ended
    exchanges.begin(None, [])
    written = exchanges.finish()
    assert written is not None
    assert written.answer.lost == [ended[5]]
    assert hands.store.stats()["completed"] == MANY


def test_its_thread_and_its_connection_end_with_it(hands: Hands) -> None:
    ended = returned(hands, MANY)
    threads, open_before = _threads(), _connections(hands)
    made = Exchanges(hands.store, hands.clock, "a worker", lambda: None, beside=True)
    made.ended += ended
    made.begin(None, [])
    made.finish()
    assert _connections(hands) == open_before + 1
    made.close()
    assert (_threads(), _connections(hands)) == (threads, open_before)


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def _connections(hands: Hands) -> int:
    name = hands.store.engine.name
    return sum(one.place == name and not one.closed for one in list(connections._everyones))


# -- in a worker ---------------------------------------------------------------------------------------------------


def held_up(monkeypatch: pytest.MonkeyPatch, until: Callable[[], bool]) -> list[int]:
    """Let the third large exchange wait until something is so; what each of them has settled."""
    sizes: list[int] = []
    real = Store.exchange

    def exchange(mine: Store, settlements: list[Settlement], *what: Any, **how: Any) -> Exchanged:
        if threading.current_thread().name == "gigq-exchange":
            sizes.append(len(settlements))
            if len(sizes) == 3:
                wait_until(until, "the worker has been told to stop")
        return real(mine, settlements, *what, **how)

    monkeypatch.setattr(Store, "exchange", exchange)
    return sizes


def test_told_to_stop_amid_one_a_worker_gives_back_what_that_one_claims(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = JobQueue(db)
    queue.submit_many([Job("quick", jobs.nothing) for _ in range(8000)])
    told = threading.Event()
    sizes = held_up(monkeypatch, told.is_set)
    with working(db) as worker:
        wait_until(lambda: len(sizes) >= 3, "an exchange is under way")
        worker.stop()
        told.set()
    stats = queue.stats()
    assert stats["running"] == 0
    assert stats["pending"] + stats["completed"] == 8000
    assert 0 < stats["completed"] < 8000
    runs = (
        queue._get_connection().execute("SELECT status, count(*) FROM execution GROUP BY status").fetchall()
    )
    assert [tuple(row) for row in runs] == [("completed", stats["completed"])], (
        "nothing was charged, or run twice"
    )


def test_at_the_end_of_its_grace_too(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = JobQueue(db)
    queue.submit_many([Job("quick", jobs.nothing) for _ in range(8000)])
    told = threading.Event()
    sizes = held_up(monkeypatch, told.is_set)
    with working(db) as worker:
        wait_until(lambda: len(sizes) >= 3, "an exchange is under way")
        worker.stop(grace=0)
        told.set()
    stats = queue.stats()
    assert stats["running"] == 0
    assert stats["pending"] + stats["completed"] == 8000
    assert (
        queue._get_connection()
        .execute("SELECT count(*) FROM job WHERE attempts > 1 OR crashes > 0")
        .fetchone()[0]
        == 0
    )
