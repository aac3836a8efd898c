"""K1: worker processes and submitters are killed at random and started again; the oracle looks at what is left."""

from __future__ import annotations

from typing import Any

import pytest
from fire import assert_reasons, torture
from rig import Rig


def test_nothing_is_lost_when_workers_and_submitters_are_killed(rig: Rig) -> None:
    found = torture(rig, jobs=2_000, kills=10)
    rig.judge()
    assert_reasons(rig)
    assert found["kills"] == 10
    assert found["jobs"] >= 2_000
    # Without this the torture would have killed only the idle.
    assert found["started twice"] > 0, rig.told(str(found))
    assert found["longest until started again"] < 30, rig.told(str(found))


@pytest.mark.torture
def test_twenty_kills_of_workers_during_twenty_thousand_jobs(rig: Rig) -> None:
    found = torture(rig, jobs=20_000, kills=20, workers=4, spare_submitters=True)
    print(rig.told(str(found)))
    rig.judge()
    assert_reasons(rig)
    assert found["jobs"] >= 20_000
    assert found["kills"] == 20


@pytest.mark.torture
def test_two_hundred_kills_during_a_hundred_thousand_jobs(rig: Rig) -> None:
    found = torture(rig, jobs=100_000, kills=200, workers=8, submitters=3)
    print(rig.told(str(found)))
    rig.judge()
    assert_reasons(rig)
    assert found["jobs"] >= 100_000
    assert found["kills"] == 200


CHILDREN: dict[str, Any] = {"executor": "process", "concurrency": 2}


def test_nothing_is_lost_when_children_are_killed_too(rig: Rig) -> None:
    found = torture(rig, jobs=900, kills=6, workers=2, **CHILDREN)
    rig.await_nobody_left()
    rig.judge()
    assert_reasons(rig)
    assert found["kills"] == 6
    assert found["children killed"] > 0
    assert found["started twice"] > 0, rig.told(str(found))


@pytest.mark.torture
def test_two_hundred_kills_of_workers_children_and_submitters(rig: Rig) -> None:
    found = torture(rig, jobs=100_000, kills=200, workers=4, submitters=3, **CHILDREN)
    print(rig.told(str(found)))
    rig.await_nobody_left()
    rig.judge()
    assert_reasons(rig)
    assert found["jobs"] >= 100_000
    assert found["kills"] == 200
