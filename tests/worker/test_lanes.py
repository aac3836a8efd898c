"""Room for plain functions and for coroutines: neither kind may keep the other out."""

from __future__ import annotations

from typing import Any

from crews import _FACTS

from gigq.lease import Lease
from gigq.marks import SLOTS
from gigq.store.claiming import Claim
from gigq.worker.calls import Call
from gigq.worker.lanes import Lanes
from gigq.worker.pace import Pace

_NAMES = {"id": "a job", "execution_id": "a lease", "module": "a module", "function": "f", "params": "{}"}


def call(number: int, **facts: Any) -> Call:
    made = Call(Lease(**{**_FACTS, **_NAMES, "seq": number, **facts}), number)
    made.started, made.ended, made.end = 1, 1001, "returned"
    return made


def mixed_lanes() -> Lanes:
    """Of a worker that has seen a coroutine, and plain functions of a microsecond."""
    lanes = Lanes(Pace(2, SLOTS), Pace(200, SLOTS))
    first = Claim(1, 2)
    calls = [call(1, is_async=1), call(2, is_async=0)]
    lanes.took(first, calls)
    lanes.left(calls)
    return lanes


def test_fast_plain_functions_leave_room_for_coroutines() -> None:
    lanes = mixed_lanes()
    for free in (SLOTS, 100, 3, 2):
        wanted = lanes.claim(1, free, ())
        assert wanted is not None
        assert wanted.want_async
        assert wanted.want + wanted.want_async <= free
        assert wanted.want > 0


def test_nothing_is_wanted_without_a_slot() -> None:
    assert mixed_lanes().claim(1, 0, ()) is None
