"""Room for plain functions and for coroutines: neither kind may keep the other out."""

from __future__ import annotations

from typing import Any

import pytest
from crews import _FACTS

from gigq.lease import Lease
from gigq.marks import SLOTS
from gigq.status import NOT_BEGUN, End
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


@pytest.mark.parametrize("end", sorted(NOT_BEGUN))
def test_nothing_is_learned_from_what_has_not_begun(end: End) -> None:
    """A module that is missing, or params that cannot be read, say nothing of how long a task takes."""
    lanes = Lanes(Pace(2, SLOTS), None)
    ran = call(1)
    ran.ended = ran.started + 5_000_000
    lanes.took(Claim(1, 1), [ran])
    lanes.left([ran])
    learned = lanes.claim(1, SLOTS, ())
    assert learned is not None
    for number in range(2, 40):
        vain = call(number)
        vain.end = end
        lanes.took(Claim(1, 1), [vain])
        lanes.left([vain])
    assert lanes.claim(1, SLOTS, ()) == learned
