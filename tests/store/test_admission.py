"""Jobs with limits in the tables: who waits, who goes on, what a run holds, and when the next one may start."""

from __future__ import annotations

import pytest
from clocks import TurnedClock
from limited import assert_limits_are_sound, limited, share
from stores import Hands, Kind, new_job

from gigq.clock import SECOND
from gigq.lease import START_WITHIN, Lease
from gigq.limits import Setting
from gigq.newjob import NewJob, NewUnique
from gigq.status import End

A = share("a", 1)


def ids(leases: list[Lease]) -> list[str]:
    return [lease.id for lease in leases]


def held(hands: Hands) -> dict[str, str | None]:
    return dict(hands.sql("SELECT id, held_by FROM job WHERE status = 'pending'"))


@pytest.fixture
def kind() -> Kind:
    """The statements are the same on every kind of store; random histories go to files too."""
    return "memory"


@pytest.fixture(autouse=True)
def _sound(hands: Hands) -> object:
    yield
    assert_limits_are_sound(hands)


def in_a_row(n: int, *shares: object, **options: object) -> list[NewJob]:
    return [limited(f"j{number}", *shares, **options) for number in range(n)]  # type: ignore[arg-type]


# -- concurrency -------------------------------------------------------------------------------------------------


def test_no_more_run_than_the_limit_allows_and_others_pass(hands: Hands) -> None:
    hands.submit(*in_a_row(5, share("a", 2)), "free")
    assert set(held(hands).values()) == {"limit:a", None}
    first = hands.claim(10)
    assert ids(first) == ["j0", "j1", "free"]
    assert hands.claim(10) == []
    hands.settle(first[0])
    assert ids(hands.claim(10)) == ["j2"]


@pytest.mark.parametrize(
    "end",
    ["returned", "raised", "timeout", "died", "stopped", "unstarted", "hindered", "unavailable", "fatal"],
)
def test_however_a_run_ends_its_place_is_free(hands: Hands, end: End) -> None:
    hands.submit(limited("first", A, retry_delay=60), limited("second", A))
    hands.settle(hands.claim_one("first"), end)
    if end in ("died", "stopped", "unstarted"):  # back at once, and before the other
        hands.run("first")
    hands.run("second")


def test_the_best_of_a_line_go_first(hands: Hands) -> None:
    hands.submit(
        limited("low", A, priority=-1), limited("old", A), limited("new", A), limited("high", A, priority=1)
    )
    assert hands.run_all() == ["high", "old", "new", "low"]


def test_a_better_one_that_comes_later_goes_before_those_that_wait(hands: Hands) -> None:
    hands.submit(*in_a_row(3, A))
    lease = hands.claim_one("j0")
    hands.submit(limited("urgent", A, priority=9))
    hands.settle(lease)
    assert hands.run_all() == ["urgent", "j1", "j2"]


def test_costs_are_added_up(hands: Hands) -> None:
    hands.submit(
        limited("two", share("a", 3, cost=2)),
        limited("also two", share("a", 3, cost=2)),
        limited("one", share("a", 3)),
    )
    two = hands.claim(10)
    assert ids(two) == ["two"], "the one that costs little does not overtake the one that waits"
    hands.settle(two[0])
    assert ids(hands.claim(10)) == ["also two", "one"]


def test_a_costly_job_is_not_overtaken_by_those_of_another_line(hands: Hands) -> None:
    """The other line has the same key, and one more."""
    hands.submit(limited("runs", share("a", 3)), limited("costly", share("a", 3, cost=3)))
    runs = hands.claim_one("runs")
    hands.submit(*in_a_row(3, share("a", 3), share("b", 3)))
    assert hands.claim(10) == []
    hands.settle(runs)
    assert ids(hands.claim(10)) == ["costly"]


def test_who_costs_more_than_a_limit_that_was_lowered_runs_alone(hands: Hands) -> None:
    hands.submit(limited("costly", share("a", 3, cost=3)), limited("cheap", share("a", 3)))
    hands.store.set_limit("a", Setting(True, 2))
    costly = hands.claim(10)
    assert ids(costly) == ["costly"]
    hands.settle(costly[0])
    assert ids(hands.claim(10)) == ["cheap"]


def test_many_keys_do_not_hinder_each_other(hands: Hands) -> None:
    hands.submit(*[limited(f"{key}{n}", share(key, 1)) for key in "abc" for n in range(3)])
    assert ids(hands.claim(10)) == ["a0", "b0", "c0"]


# -- several limits ----------------------------------------------------------------------------------------------


def test_a_job_runs_when_all_its_limits_have_room(hands: Hands) -> None:
    hands.submit(limited("holds a", A), limited("holds b", share("b", 1)), limited("both", A, share("b", 1)))
    a, b = hands.claim(10)
    assert held(hands) == {"both": "limit:a & b"}
    hands.settle(a)
    assert hands.claim(10) == []
    hands.settle(b)
    hands.run("both")


def test_one_that_waits_for_another_limit_keeps_nobody(hands: Hands) -> None:
    """ "both" is first in line at a, which has room, but b has none: the next of a goes on."""
    hands.submit(limited("holds b", share("b", 1)), limited("both", A, share("b", 1), priority=1))
    b = hands.claim_one("both")
    hands.submit(limited("only a", A))
    assert ids(hands.claim(10)) == []
    hands.settle(b)
    assert ids(hands.claim(10)) == ["holds b", "only a"]


def test_jobs_of_many_lines_wait_for_one_key_in_their_order(hands: Hands) -> None:
    hands.submit(*[limited(f"j{n}", share("all", 1), share(f"host {n}", 1), priority=-n) for n in range(40)])
    assert hands.run_all() == [f"j{n}" for n in range(40)]


# -- queues ------------------------------------------------------------------------------------------------------


def test_jobs_of_a_queue_that_nobody_serves_take_no_place(hands: Hands) -> None:
    hands.submit(limited("nobody's", A, queue="asleep", priority=9), limited("mine", A))
    hands.claim_one("mine")
    assert hands.claim(10, "asleep") == []


def test_two_queues_share_a_limit_and_both_learn_when_it_opens(hands: Hands) -> None:
    hands.submit(limited("here", A), limited("there", A, queue="other"))
    here = hands.claim_one("here")
    assert hands.claim(10, "other") == []
    assert held(hands) == {"there": "limit:a"}, "it was let through, and put back by the claim"
    hands.settle(here)
    assert ids(hands.claim(10, "other")) == ["there"]


# -- every way into and out of a line ----------------------------------------------------------------------------


def test_a_child_is_let_through_only_when_its_parents_have_completed(hands: Hands) -> None:
    hands.submit("parent", limited("child", A, parents=["parent"], priority=9), limited("other", A))
    parent, other = hands.claim(10)
    assert other.id == "other"
    hands.settle(parent)
    assert hands.claim(10) == []
    hands.settle(other)
    hands.run("child")


def test_a_child_whose_parent_has_completed_before_is_in_line_at_once(hands: Hands) -> None:
    hands.submit("parent")
    hands.run("parent")
    hands.submit(limited("child", A, parents=["parent"]))
    hands.run("child")


def test_a_retry_takes_no_place_before_its_time_and_finds_one_then(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(limited("retried", A, retry_delay=5), limited("other", A))
    hands.run("retried", "raised")
    other = hands.claim_one("other")
    clock.turn(5)
    assert hands.claim(10) == []
    assert held(hands) == {"retried": "limit:a"}
    hands.settle(other)
    hands.run("retried")


def test_a_requeued_job_has_its_limits_again(hands: Hands) -> None:
    hands.submit(limited("again", A), limited("other", A))
    hands.fail("again")
    hands.claim_one("other")
    assert hands.requeue("again") is None
    assert hands.claim(10) == []
    assert held(hands) == {"again": "limit:a"}


def test_one_that_is_cancelled_in_line_is_gone(hands: Hands) -> None:
    hands.submit(*in_a_row(3, A))
    lease = hands.claim_one("j0")
    assert hands.cancel("j1")
    assert hands.job("j1")["held_by"] is None
    hands.settle(lease)
    assert hands.run_all() == ["j2"]


def test_one_that_is_cancelled_when_it_was_let_through_gives_its_place_to_the_next(hands: Hands) -> None:
    """No run ends that would tell: the look that comes next must learn of it by itself."""
    hands.submit(*in_a_row(2, A))
    hands.exchange([])
    assert held(hands) == {"j0": None, "j1": "limit:a"}
    assert hands.cancel("j0")
    assert hands.store.peek().has_work(hands.clock.now())
    hands.run("j1")


def test_a_costly_one_that_is_cancelled_in_line_lets_the_next_pass(hands: Hands) -> None:
    hands.submit(
        limited("runs", share("a", 3)),
        limited("costly", share("a", 3, cost=3)),
        limited("next", share("a", 3)),
    )
    hands.claim_one("runs")
    assert hands.claim(10) == []
    hands.cancel("costly")
    assert hands.store.peek().has_work(hands.clock.now())
    hands.claim_one("next")


def test_one_whose_parent_is_brought_back_gives_its_place_to_the_next(hands: Hands) -> None:
    hands.submit("parent")
    hands.fail("parent")
    hands.submit(limited("child", A, parents=["parent"], policy="run"), limited("other", A))
    hands.exchange([])
    assert held(hands) == {"child": None, "other": "limit:a"}
    assert hands.requeue("parent") is None
    assert ids(hands.claim(10)) == ["parent", "other"]


@pytest.mark.parametrize("let_through", [False, True])
@pytest.mark.parametrize("then", [None, "a", "b"])
def test_one_that_is_declared_anew_has_the_limits_that_it_declares_then(
    hands: Hands, let_through: bool, then: str | None
) -> None:
    def declare(job_id: str, key: str | None) -> NewJob:
        job = limited(job_id, *([share(key, 1)] if key else []), priority=1)
        job.unique = NewUnique("the key", "pending", None, "replace")
        return job

    hands.submit(declare("replaced", "a"), limited("other", A))
    if let_through:
        hands.exchange([])
    hands.submit(declare("never seen", then))
    assert ids(hands.claim(9)) == (["replaced"] if then == "a" else ["replaced", "other"])
    assert hands.job("replaced")["held_by"] is None


def test_one_held_for_want_of_a_module_takes_no_place(hands: Hands) -> None:
    hands.submit(limited("lacking", A), limited("other", A))
    hands.run("lacking", "unavailable")
    other = hands.claim_one("other")
    hands.store.release_held("import:jobs", "nothing", None)
    assert hands.claim(10) == []
    hands.settle(other)
    hands.run("lacking")


def test_what_ended_and_was_cleared_leaves_nothing_behind(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(limited("done", A, share("r", None, (1, 60.0))), limited("gone", A))
    hands.run("done")
    hands.cancel("gone")
    assert hands.clear() == 2
    tables = ("limit_line", "limit_member", "limit_key", "limit_start", "admitted", "holding")
    for _ in range(2):  # a key goes when its lines have gone
        assert hands.store.tidy_limits(0, 0, clock.now()) != (0, 0)
    left = {table: hands.sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables}
    assert left == {
        "limit_line": 0,
        "limit_member": 0,
        "limit_key": 1,
        "limit_start": 1,
        "admitted": 0,
        "holding": 0,
    }, "the start still counts"
    clock.turn(61)
    hands.store.tidy_limits(0, 0, clock.now())
    assert [hands.sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables] == [0] * 6


def test_a_limit_that_was_set_and_lines_with_jobs_are_not_forgotten(hands: Hands, clock: TurnedClock) -> None:
    hands.store.set_limit("kept", Setting(True, 3))
    hands.submit(limited("a job", A))
    hands.store.tidy_limits(0, 0, clock.now())
    assert [row["key"] for row in hands.store.limits(None, 10, clock.now())] == ["a", "kept"]


# -- rates -------------------------------------------------------------------------------------------------------


def rated(n: int, amount: int = 2, seconds: float = 10.0) -> list[NewJob]:
    return in_a_row(n, share("r", None, (amount, seconds)))


def test_no_more_start_than_the_rate_allows_in_any_time_of_its_length(
    hands: Hands, clock: TurnedClock
) -> None:
    hands.submit(*rated(6))
    at: list[float] = []
    begin = clock.now()
    while hands.statuses().keys() and "pending" in hands.statuses().values():
        claimed = hands.claim(1)
        at += [(clock.now() - begin) / SECOND] * len(claimed)
        for lease in claimed:
            hands.settle(lease)
        if len(at) == 1 and claimed:
            clock.turn(4)
            continue
        due = hands.store.peek().next_due
        if not claimed and due is not None:
            clock.turn((due - clock.now()) / SECOND)
    assert at == [0, 4, 10, 14, 20, 24]


def test_the_ends_of_jobs_free_no_rate(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*rated(3))
    assert hands.run_all() == ["j0", "j1"]
    clock.turn(9.9)
    assert hands.claim(9) == []
    clock.turn(0.1)
    assert ids(hands.claim(9)) == ["j2"]


def test_a_start_counts_from_when_it_really_was(hands: Hands, clock: TurnedClock) -> None:
    """Claimed at 0, started at 0.15, so the time is over at 10.15; while that is not known, at 10.2."""
    hands.submit(*rated(3, 1))
    first = hands.claim_one("j0")
    hands.exchange([])
    assert hands.store.peek().next_due == clock.now() + 10 * SECOND + START_WITHIN
    clock.turn(0.15)
    hands.settle(first)  # as if it had started just now
    hands.exchange([])
    assert hands.store.peek().next_due == clock.now() + 10 * SECOND


@pytest.mark.parametrize("end", ["unstarted", "hindered", "unavailable"])
def test_a_start_that_is_given_back_is_taken_out(hands: Hands, end: End) -> None:
    hands.submit(*rated(2, 1))
    hands.settle(hands.claim_one("j0"), end)
    assert hands.sql("SELECT * FROM limit_start") == []
    assert len(hands.claim(9)) == 1


@pytest.mark.parametrize("end", ["raised", "died", "stopped", "timeout", "returned"])
def test_a_start_counts_however_the_run_ends(hands: Hands, end: End) -> None:
    hands.submit(*rated(2, 1))
    hands.settle(hands.claim_one("j0"), end)
    assert hands.claim(9) == []


def test_a_start_counts_though_its_job_was_cleared(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*rated(1, 1))
    hands.run("j0")
    hands.clear()
    hands.submit(limited("next", share("r", None, (1, 10.0))))
    assert hands.claim(9) == []
    clock.turn(10)
    hands.run("next")


def test_long_runs_do_not_keep_others_from_starting_when_the_time_is_over(
    hands: Hands, clock: TurnedClock
) -> None:
    """Nothing settles that would tell; the claim itself notes when the next may start."""
    hands.submit(*rated(2, 1))
    hands.claim_one("j0")
    due = hands.store.peek().next_due
    assert due == clock.now() + 10 * SECOND + START_WITHIN
    clock.turn((due - clock.now()) / SECOND)
    hands.claim_one("j1")


def test_a_rate_may_be_spent_by_cost(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*[limited(f"j{n}", share("r", None, (10, 10.0), cost=4)) for n in range(4)])
    assert hands.run_all() == ["j0", "j1"]
    clock.turn(10)
    assert hands.run_all() == ["j2", "j3"]


def test_concurrency_and_rate_hold_together(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*in_a_row(4, share("x", 1, (2, 10.0))))
    assert hands.run_all() == ["j0", "j1"]
    clock.turn(10)
    assert ids(hands.claim(9)) == ["j2"]
    assert hands.claim(9) == []


def test_a_key_with_a_large_rate_sums_up_nothing(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*in_a_row(30, share("r", None, (1_000_000, 86400.0))))
    hands.run_all()
    assert hands.sql("SELECT used FROM limit_key") == [(30,)]
    clock.turn(86401)
    hands.submit(limited("next day", share("r", None, (1_000_000, 86400.0))))
    hands.run_all()
    assert hands.sql("SELECT used FROM limit_key") == [(1,)]


# -- backing off -------------------------------------------------------------------------------------------------


def back_off(hands: Hands, lease: Lease, seconds: float, key: str = "") -> None:
    settlement = hands.outcome(lease, "snoozed")
    settlement.due_at = hands.clock.now() + round(seconds * SECOND)
    settlement.backs_off = key
    hands.exchange([settlement])


def test_who_is_told_to_come_back_later_speaks_for_all_of_its_limits(
    hands: Hands, clock: TurnedClock
) -> None:
    hands.submit(*in_a_row(4, share("a", 2)), "free")
    first, second, _ = hands.claim(9)
    back_off(hands, first, 30)
    hands.settle(second)
    assert hands.claim(9) == []
    assert hands.job("j0")["attempts"] == 0
    assert hands.store.peek().next_due == clock.now() + 30 * SECOND
    clock.turn(30)
    assert ids(hands.claim(9)) == ["j0", "j2"]


def test_only_the_limit_that_is_named_backs_off(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(limited("told", A, share("b", 1)), limited("of a", A), limited("of b", share("b", 1)))
    told = hands.claim(9)[0]
    back_off(hands, told, 30, "b")
    assert ids(hands.claim(9)) == ["of a"]
    clock.turn(30)
    assert ids(hands.claim(9)) == ["of b"]


def test_a_longer_back_off_stands(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*in_a_row(3, share("a", 2)))
    first, second = hands.claim(9)
    back_off(hands, first, 60)
    back_off(hands, second, 5)
    clock.turn(59)
    assert hands.claim(9) == []
    clock.turn(1)
    assert len(hands.claim(9)) == 2


def test_an_operator_may_end_it(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*in_a_row(2, A))
    back_off(hands, hands.claim_one("j0"), 86_400)
    assert hands.claim(9) == []
    assert hands.store.reset_limit("a")
    hands.claim_one("j1")


# -- changes -----------------------------------------------------------------------------------------------------


def test_the_newest_declaration_counts(hands: Hands) -> None:
    hands.submit(*in_a_row(4, A))
    assert len(hands.claim(9)) == 1
    hands.submit(limited("newest", share("a", 3)))
    assert ids(hands.claim(9)) == ["j1", "j2"]


def test_what_an_operator_sets_counts_until_it_is_reset(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*in_a_row(9, share("a", 2)))
    hands.claim(2)
    hands.store.set_limit("a", Setting(True, 4))
    assert ids(hands.claim(9)) == ["j2", "j3"]
    hands.submit(limited("declares", share("a", 9)))
    assert hands.claim(9) == []
    hands.store.set_limit("a", Setting(sets_rate=True, amount=1, per=SECOND))
    [row] = hands.store.limits("a", 1, clock.now())
    assert (row["concurrency"], row["amount"], row["waiting"]) == (4, 1, 6)
    hands.store.reset_limit("a")
    assert len(hands.claim(99)) == 5


def test_with_a_lowered_limit_nothing_starts_until_enough_have_ended(hands: Hands) -> None:
    hands.submit(*in_a_row(5, share("a", 3)))
    running = hands.claim(9)
    hands.store.set_limit("a", Setting(True, 1))
    for lease in running[:2]:
        hands.settle(lease)
        assert hands.claim(9) == []
    hands.settle(running[2])
    assert len(hands.claim(9)) == 1


def test_a_limit_may_be_lifted(hands: Hands) -> None:
    hands.submit(*in_a_row(5, share("a", 1, (1, 60.0))))
    hands.claim(9)
    hands.store.set_limit("a", Setting(True, None, True, None, None))
    assert len(hands.claim(9)) == 4


# -- what it costs -----------------------------------------------------------------------------------------------


def test_no_claim_walks_over_jobs_that_wait(hands: Hands) -> None:
    """Counted in steps of SQLite's machine: the same for one that waits ahead and for thousands."""
    steps = []
    for waiting in (1, 5000):
        key = f"a{waiting}"
        hands.submit(*[limited(f"{key} {n}", share(key, 1), priority=9) for n in range(waiting + 1)])
        [runs] = [lease for lease in hands.claim(5) if lease.id.startswith(key)]
        hands.submit(*[f"free {waiting} {n}" for n in range(50)])
        steps.append(_steps(hands))
        hands.settle(runs)
        hands.sql("SELECT 1")
    assert steps[1] < 1.2 * steps[0]


def _steps(hands: Hands) -> int:
    connection = hands.store.engine.connection()
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(tick, 10)
    try:
        assert len(hands.claim(50)) == 50
    finally:
        connection.set_progress_handler(None, 0)
    return count


def test_an_exchange_without_limits_asks_one_question_about_them(hands: Hands) -> None:
    hands.submit(*[f"j{n}" for n in range(10)])
    connection = hands.store.engine.connection()
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    hands.exchange([hands.outcome(lease) for lease in hands.claim(5)], want=5)
    connection.set_trace_callback(None)
    about = [text for text in asked if "limit_" in text or "admitted" in text or "holding" in text]
    assert len(about) == 2, "one for each of two exchanges"


def test_what_is_left_over_is_done_by_the_next_exchange(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gigq.store.admission._JOBS", 7)
    hands.submit(*in_a_row(30, share("a", 100)))
    done = hands.exchange([], want=100)
    assert len(done.claimed) == 8
    assert done.more
    while done.more:
        done = hands.exchange([], want=100)
    assert "pending" not in hands.statuses().values()


def test_an_exchange_lets_some_through_and_the_best_first(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gigq.store.rooms.AHEAD", 100_000)
    both = share("all", 9000)
    hands.submit(
        *[
            limited(f"{n}-{key}", share(f"key {key}", 100), both, priority=n)
            for key in range(300)
            for n in range(12)
        ]
    )
    ready = 0
    while hands.exchange([]).more:
        [(now_ready, worst)] = hands.sql("SELECT count(*), min(priority) FROM job WHERE held_by IS NULL")
        [(best,)] = hands.sql("SELECT max(priority) FROM job WHERE held_by IS NOT NULL")
        assert 0 < now_ready - ready <= 2500
        assert best <= worst
        ready = now_ready
    assert set(held(hands).values()) == {None}


def test_jobs_that_find_no_room_are_put_back_until_one_does(hands: Hands) -> None:
    """Retries come back as if there was room; a claim for one must find the one behind them."""
    hands.submit(*in_a_row(6, share("a", 6), max_attempts=9))
    leases = hands.claim(6)
    hands.store.set_limit("a", Setting(True, 1))
    hands.exchange([hands.outcome(lease, "raised") for lease in leases])
    hands.submit("free")
    assert ids(hands.claim(1)) == ["j0"]
    assert ids(hands.claim(1)) == ["free"]
    assert sorted(value or "" for value in held(hands).values()) == ["limit:a"] * 5


# -- what is told ------------------------------------------------------------------------------------------------


def test_what_keeps_a_job_is_told(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*in_a_row(4, share("a", 1), share("r", None, (1, 10.0))), new_job("free"))
    hands.claim(9)
    hands.exchange([])
    a, r = hands.store.limits_on("j3", clock.now())
    assert (a["key"], a["is_full"], a["running"], a["running_ids"], a["ahead"]) == ("a", 1, 1, ["j0"], 2)
    assert (r["key"], r["started"], r["amount"], r["per"]) == ("r", 1, 1, 10 * SECOND)
    assert a["opens_at"] is None
    hands.settle(hands.store.running()[0])
    _, r = hands.store.limits_on("j3", clock.now())
    assert (r["is_full"], r["opens_at"]) == (1, clock.now() + 10 * SECOND)
    for other in ("j0", "free", "nobody"):
        assert hands.store.limits_on(other, clock.now()) == []
