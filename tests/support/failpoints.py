"""Named points of the worker and the submitter at which a torture strikes: each a seam that is wrapped."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import ledger

from gigq.marks import Marks
from gigq.newjob import NewJob
from gigq.store import claiming, exchange, submission
from gigq.store.base import Store
from gigq.store.rows import Exchanged
from gigq.store.sidecar import FileSidecar, Life
from gigq.store.transaction import Transaction
from gigq.worker.runner import Ended, Runner

Strike = Callable[[], None]


def striker(how: str, times: int = 1) -> Strike:
    """What happens at the point: the process is killed, the disk fails, or time passes; so many times."""
    left = times

    def strike() -> None:
        nonlocal left
        if left <= 0:
            return
        left -= 1
        ledger.write("strike")
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # it is on its way
        elif how == "raise":
            raise sqlite3.OperationalError("disk I/O error")
        else:
            time.sleep(0.3)

    return strike


def install(point: str, how: str) -> None:
    """Arm one point of this process."""
    _POINTS[point](striker(how))


def _in_claim(strike: Strike) -> None:
    real = claiming.claim

    def claim(tx: Transaction, *what: Any, **how: Any) -> Any:
        claimed = real(tx, *what, **how)
        if claimed:
            strike()
        return claimed

    claiming.claim = claim


def _around_exchange(
    before: Callable[[list[Any]], None], after: Callable[[list[Any], Exchanged], None]
) -> None:
    real = Store.exchange

    def exchanged(self: Store, settlements: list[Any], *args: Any, **options: Any) -> Exchanged:
        before(settlements)
        done = real(self, settlements, *args, **options)
        after(settlements, done)
        return done

    Store.exchange = exchanged  # type: ignore[method-assign, assignment]


def _nothing(*_: Any) -> None:
    pass


def _after_claim(strike: Strike) -> None:
    _around_exchange(_nothing, lambda _, done: strike() if done.claimed else None)


def _before_settle(strike: Strike) -> None:
    _around_exchange(lambda settlements: strike() if settlements else None, _nothing)


def _after_settle(strike: Strike) -> None:
    _around_exchange(_nothing, lambda settlements, _: strike() if settlements else None)


def _in_settle(strike: Strike) -> None:
    real = exchange.settle

    def settle(tx: Transaction, batch: exchange.Batch, now: int) -> None:
        real(tx, batch, now)
        if batch.completed or batch.badly or batch.again:
            strike()

    exchange.settle = settle


def _after_mark(strike: Strike) -> None:
    real = Marks.write

    def write(self: Marks, slot: int, key: bytes, started: int) -> None:
        real(self, slot, key, started)
        strike()

    Marks.write = write  # type: ignore[method-assign]


def _after_return(strike: Strike) -> None:
    real = Runner.run

    def run(self: Runner[Any], run: Any, wait: Any) -> Ended:
        outcome = real(self, run, wait)
        strike()
        return outcome

    Runner.run = run  # type: ignore[method-assign]


def _in_register(strike: Strike) -> None:
    real = FileSidecar.live

    def live(self: FileSidecar, area: int) -> Life | None:
        life = real(self, area)
        strike()
        return life

    FileSidecar.live = live  # type: ignore[method-assign]


def _before_retire(strike: Strike) -> None:
    real = Store.retire

    def retire(self: Store, number: int, now: int) -> None:
        strike()
        real(self, number, now)

    Store.retire = retire  # type: ignore[method-assign, assignment]


def _in_submit(strike: Strike) -> None:
    real = submission.insert

    def insert(tx: Transaction, what: submission.Plan, now: int) -> dict[str, str]:
        met = real(tx, what, now)
        strike()
        return met

    submission.insert = insert


def _after_submit(strike: Strike) -> None:
    real = Store.submit

    def submit(self: Store, jobs: list[NewJob], now: int, *workflow: Any) -> dict[str, str]:
        met = real(self, jobs, now, *workflow)
        strike()
        return met

    Store.submit = submit  # type: ignore[method-assign, assignment]


_POINTS: dict[str, Callable[[Strike], None]] = {
    "register, before the commit": _in_register,
    "claim, before the commit": _in_claim,
    "claim, after the commit": _after_claim,
    "run, after the start mark": _after_mark,
    "run, after the return": _after_return,
    "settle, before the transaction": _before_settle,
    "settle, before the commit": _in_settle,
    "settle, after the commit": _after_settle,
    "retire, before the transaction": _before_retire,
    "submit, before the commit": _in_submit,
    "submit, after the commit": _after_submit,
}
