"""Jobs whose module is missing in some worker: held, let go for others to try, and given up in the end."""

from __future__ import annotations

from clocks import TurnedClock
from stores import Hands, new_job

from gigq.clock import SECOND
from gigq.store.claiming import Claim


def test_a_job_whose_module_is_missing_is_held_until_somebody_can_import_it(
    hands: Hands, clock: TurnedClock
) -> None:
    hands.submit("a")
    hands.run("a", "unavailable", error="no module named jobs")
    job = hands.job("a")
    assert (job["status"], job["held_by"], job["held_since"]) == ("pending", "import:jobs", clock.now())
    assert hands.claim() == []
    assert hands.store.held_imports() == [
        {"held_by": "import:jobs", "function_module": "jobs", "function_name": "nothing", "script": None}
    ]
    assert hands.store.release_held("import:jobs", "nothing", None) == 1
    assert hands.store.release_held("import:jobs", "nothing", None) == 0
    assert hands.ready() == ["a"]


def test_a_hold_counts_from_its_first_day_and_then_fails_the_job(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("a", new_job("child", ["a"]))
    hands.run("a", "unavailable", error="no module named jobs")
    clock.turn(3600)
    assert hands.store.fail_held(clock.now() - 3600 * SECOND, clock.now()) == 0
    assert hands.store.fail_held(clock.now() - 3599 * SECOND, clock.now()) == 1
    job = hands.job("a")
    assert (job["status"], job["held_by"]) == ("failed", None)
    assert "import:jobs" in job["error"]
    assert "no module named jobs" in job["error"]
    assert hands.status("child") == "cancelled"


def test_a_hold_counts_from_its_first_day_though_others_have_tried(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("a")
    start = clock.now()
    for _ in range(3):
        hands.run("a", "unavailable")
        assert hands.job("a")["held_since"] == start
        clock.turn(3600)
        hands.store.release_held("import:jobs", "nothing", None)
    hands.run("a", "raised")
    assert hands.job("a")["held_since"] is None, "somebody could run it"


def test_a_worker_without_the_function_leaves_to_others_what_was_held(
    hands: Hands, clock: TurnedClock
) -> None:
    hands.submit("held once", "fresh")
    hands.run("held once", "unavailable")
    hands.store.release_held("import:jobs", "nothing", None)
    lacking = Claim(1, 9, without=[("jobs", "nothing", None)])
    claimed = hands.store.exchange([], lacking, clock.now()).claimed
    assert [lease.id for lease in claimed] == ["fresh"], "it may have been there all the time"
    another = Claim(2, 9, without=[("jobs", "something", None)])
    assert [lease.id for lease in hands.store.exchange([], another, clock.now()).claimed] == ["held once"]
