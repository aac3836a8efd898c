"""Graph work of any size in transactions of bounded size: what is left over is exact whenever one looks."""

from __future__ import annotations

import pytest
from stores import KINDS, Hands, Kind, assert_sound, new_job

from gigq.store import graph
from gigq.store.graph import BUDGET

WIDE = 5000


@pytest.fixture(params=["file", *[pytest.param(kind, marks=pytest.mark.torture) for kind in KINDS[1:]]])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Here the work does not depend on the kind of store, and takes long."""
    made: Kind = request.param
    return made


@pytest.fixture
def fan_out(hands: Hands) -> Hands:
    """A parent of 5,000 children, and one child that has another parent too."""
    hands.submit(new_job("parent", priority=9))
    hands.submit(*[new_job(f"{number}", ["parent"]) for number in range(WIDE)])
    return hands


def rows_touched(hands: Hands) -> int:
    return hands.store.engine.connection().total_changes


def test_a_parent_of_thousands_releases_them_piece_by_piece(fan_out: Hands) -> None:
    lease = fan_out.claim_one("parent")
    fan_out.settle(lease)
    released = [len(fan_out.ready())]
    while fan_out.unfinished():
        assert_sound(fan_out)
        fan_out.exchange([])
        released.append(len(fan_out.ready()))
    assert released[0] >= BUDGET
    assert released == sorted(released)
    assert max(after - before for before, after in zip([0, *released], released, strict=False)) <= 2 * BUDGET
    assert released[-1] == WIDE


def test_no_exchange_touches_much_more_than_the_budget(fan_out: Hands) -> None:
    lease = fan_out.claim_one("parent")
    settlements = [fan_out.outcome(lease)]
    while settlements or fan_out.unfinished():
        before = rows_touched(fan_out)
        fan_out.exchange(settlements)
        assert rows_touched(fan_out) - before < 2 * BUDGET + 100, "one piece of news, one piece left over"
        settlements = []


def test_an_idle_worker_sees_that_there_is_work_left_over(fan_out: Hands) -> None:
    fan_out.settle(fan_out.claim_one("parent"))
    peek = fan_out.store.peek()
    assert peek.unfinished
    assert peek.has_work(0)
    fan_out.finish()
    assert not fan_out.store.peek().unfinished
    assert len(fan_out.ready()) == WIDE


def test_a_worker_drains_a_fan_out_without_being_asked_to_finish_it(fan_out: Hands) -> None:
    settlements = []
    claimed = fan_out.claim(500)
    ran = 0
    while claimed:
        ran += len(claimed)
        settlements = [fan_out.outcome(lease) for lease in claimed]
        claimed = fan_out.exchange(settlements, want=500).claimed
    assert ran == WIDE + 1
    assert fan_out.store.stats()["completed"] == WIDE + 1


def test_a_bad_end_cancels_thousands_and_a_requeue_brings_them_all_back(fan_out: Hands) -> None:
    fan_out.fail("parent")
    assert 0 < fan_out.store.stats()["cancelled"] <= 2 * BUDGET
    assert_sound(fan_out)
    fan_out.finish()
    assert fan_out.store.stats()["cancelled"] == WIDE
    assert fan_out.requeue("parent") is None
    assert fan_out.store.stats()["pending"] == WIDE + 1
    assert fan_out.ready() == ["parent"]


def test_a_requeue_in_the_middle_of_the_news_of_a_failure(fan_out: Hands) -> None:
    fan_out.fail("parent")
    assert fan_out.unfinished() == [("ended", 1, fan_out.unfinished()[0][2])]
    fan_out.requeue("parent")
    assert fan_out.unfinished() == []
    assert fan_out.store.stats()["pending"] == WIDE + 1
    fan_out.run("parent")
    fan_out.finish()
    assert len(fan_out.ready()) == WIDE


def test_a_submission_in_the_middle_of_the_news(fan_out: Hands) -> None:
    fan_out.settle(fan_out.claim_one("parent"))
    fan_out.submit(new_job("late", ["parent"]))
    fan_out.finish()
    assert fan_out.job("late")["parents_left"] == 0
    assert len(fan_out.ready()) == WIDE + 1


def test_children_are_cancelled_or_retried_in_the_middle_of_the_news(fan_out: Hands) -> None:
    fan_out.settle(fan_out.claim_one("parent"))
    assert fan_out.cancel(f"{WIDE - 1}")  # its news is still on its way; cancelling goes on with it
    retried = fan_out.claim_one("0")
    fan_out.settle(retried, "raised")
    fan_out.requeue(f"{WIDE - 1}")
    assert len(fan_out.ready()) == WIDE


def test_clearing_spares_a_parent_whose_news_is_still_on_its_way(fan_out: Hands) -> None:
    fan_out.settle(fan_out.claim_one("parent"))
    assert fan_out.unfinished() != []
    assert fan_out.clear() == 0
    fan_out.finish()
    assert len(fan_out.ready()) == WIDE


def test_thousands_of_parents_release_one_child(hands: Hands) -> None:
    parents = [f"{number}" for number in range(3000)]
    hands.submit(*parents, new_job("child", parents))
    assert hands.job("child")["parents_left"] == 3000
    left = 3000
    while leases := hands.claim(700):
        assert "child" not in [lease.id for lease in leases] or left == 0
        hands.exchange([hands.outcome(lease) for lease in leases])
        left = max(0, left - len(leases))
        if hands.status("child") == "pending":
            assert hands.job("child")["parents_left"] == left
    assert hands.status("child") == "completed"


def test_thousands_of_parents_that_end_in_one_exchange(hands: Hands) -> None:
    parents = [f"{number}" for number in range(WIDE)]
    hands.submit(*parents, new_job("child", parents), new_job("other", parents[:10]))
    leases = hands.claim(WIDE)
    hands.exchange([hands.outcome(lease) for lease in leases])
    assert hands.unfinished() != [], "more edges than one transaction may touch"
    assert_sound(hands)
    hands.finish()
    assert hands.ready() == ["child", "other"]


def test_a_chain_of_thousands_is_cancelled_to_its_end(hands: Hands) -> None:
    hands.submit("0", *[new_job(f"{n}", [f"{n - 1}"]) for n in range(1, 3000)])
    assert hands.cancel("0")
    assert hands.store.stats()["cancelled"] == 3000
    assert hands.requeue("0") is None
    assert hands.store.stats()["pending"] == 3000


def test_a_graph_of_any_size_is_submitted_whole_below_a_parent_that_failed(hands: Hands) -> None:
    hands.submit("parent")
    hands.fail("parent")
    hands.submit(*[new_job(f"{n}", ["parent"]) for n in range(WIDE)], new_job("end", [f"{WIDE - 1}"]))
    assert hands.store.stats()["cancelled"] == WIDE + 1
    assert hands.unfinished() == []


# -- a parent that ends again while the news of its revival is still on its way ----------------------------------


def requeue_without_finishing(hands: Hands, job_id: str) -> None:
    """As if the process had been killed after its first transaction."""
    seq, now = hands.job(job_id)["seq"], hands.clock.now()
    with hands.store._writing() as tx:
        graph.requeue(tx, [seq], now)
        graph.revived(tx, [seq], now)


@pytest.fixture
def half_revived(hands: Hands) -> Hands:
    """``parent`` failed and was requeued; most of its children, which run anyway, have not heard of that.

    Each of them has another parent, ``open``, so it must not run yet.
    """
    hands.submit(new_job("parent", priority=9), new_job("open", priority=-9))
    hands.submit(*[new_job(f"{n}", ["parent", "open"], policy="run") for n in range(WIDE)])
    hands.fail("parent")
    hands.finish()
    requeue_without_finishing(hands, "parent")
    assert [row[0] for row in hands.unfinished()] == ["revived"]
    return hands


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_no_child_is_counted_down_twice(half_revived: Hands, end: str) -> None:
    hands = half_revived
    hands.run("parent") if end == "completed" else hands.fail("parent")
    seen = 0
    while hands.unfinished():
        assert hands.ready() == ["open"]
        hands.exchange([])
        seen += 1
    assert seen > 0
    assert hands.sql("SELECT DISTINCT parents_left FROM job WHERE parents = 2") == [(1,)]
    hands.run("open")
    hands.finish()
    assert len(hands.ready()) == WIDE


def test_news_of_an_end_that_was_taken_back_is_forgotten(hands: Hands) -> None:
    """``middle`` was cancelled for ``top``; its children had not all heard when ``top`` brought it back."""
    hands.submit(
        new_job("top", priority=9), new_job("middle", ["top"], priority=8), new_job("open", priority=-9)
    )
    hands.submit(*[new_job(f"{n}", ["middle", "open"], policy="run") for n in range(WIDE)])
    hands.fail("top")
    assert [row[0] for row in hands.unfinished()] == ["ended"]
    requeue_without_finishing(hands, "top")
    assert [row[0] for row in hands.unfinished()] == ["revived"]
    for job_id in ("top", "middle"):
        hands.run(job_id)
    assert hands.ready() == ["open"]
    hands.finish()
    assert hands.ready() == ["open"]
    hands.run("open")
    hands.finish()
    assert len(hands.ready()) == WIDE
