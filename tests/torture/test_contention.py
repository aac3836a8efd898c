"""K14: submitters at full speed beside workers: nobody sees "database is locked", everybody gets a share."""

from __future__ import annotations

import pytest
from contention import contend
from rig import Rig


def test_submitters_at_full_speed_beside_workers_all_get_their_turn(rig: Rig) -> None:
    found = contend(rig, submitters=8, workers=2, seconds=2.5)
    rig.judge()
    assert rig.queue.stats()["completed"] == rig.queue.stats()["total"] > 0
    # How fast they are depends on the machine; that none starves does not.
    assert found["slowest over mean"] > 0.3, rig.told(str(found))


@pytest.mark.torture
def test_sixteen_submitters_and_four_workers_for_a_minute(rig: Rig) -> None:
    found = contend(rig, submitters=16, workers=4, seconds=60)
    print(rig.told(str(found)))
    rig.judge()
    assert found["slowest over mean"] >= 0.8, rig.told(str(found))
