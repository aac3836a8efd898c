"""Submitting jobs whose parents are there already, were, or never will be; and what a child is told of them."""

from __future__ import annotations

import pytest
from stores import BAD_ENDS, Hands, new_job

from gigq.errors import DependencyCycle, UnknownParent
from gigq.store.rows import Parent


def test_a_parent_that_completed_counts_as_done(hands: Hands) -> None:
    hands.submit("parent")
    hands.run("parent", result="1")
    hands.submit(new_job("child", ["parent"]))
    lease = hands.claim_one("child")
    assert hands.store.parents([lease.seq], 100)[1] == [
        Parent(lease.seq, "parent", "completed", "1", None),
    ]


@pytest.mark.parametrize("how", BAD_ENDS)
@pytest.mark.parametrize(
    ("policy", "status"), [("cancel", "cancelled"), ("run", "pending"), ("wait", "pending")]
)
def test_a_parent_that_ended_badly_applies_at_once(hands: Hands, how: str, policy: str, status: str) -> None:
    hands.submit("parent")
    hands.end("parent", how)
    hands.submit(new_job("child", ["parent"], policy=policy), new_job("grandchild", ["child"]))
    assert hands.statuses() == {
        "parent": how,
        "child": status,
        "grandchild": "cancelled" if policy == "cancel" else "pending",
    }
    assert hands.ready() == (["child"] if policy == "run" else [])
    hands.requeue("parent")
    assert hands.run_all() == ["parent", "child", "grandchild"]


@pytest.mark.parametrize("parent", ["never was", "cleared"])
def test_an_unknown_parent_is_refused_and_nothing_is_written(hands: Hands, parent: str) -> None:
    hands.submit("cleared")
    hands.run("cleared")
    hands.clear()
    with pytest.raises(UnknownParent, match=f"'child' .*depends on {parent}, which is not in the queue"):
        hands.submit("before", new_job("child", [parent]))
    assert hands.statuses() == {}


def test_parents_may_come_after_their_children_in_one_submission(hands: Hands) -> None:
    hands.submit(new_job("c", ["b"]), new_job("b", ["a"]), "a")
    assert hands.run_all() == ["a", "b", "c"]


def test_parents_inside_and_outside_of_the_submission_count_together(hands: Hands) -> None:
    hands.submit("done", "open")
    hands.run("done")
    hands.submit("inner", new_job("child", ["done", "open", "inner"]))
    assert hands.job("child")["parents_left"] == 2
    assert hands.run_all() == ["open", "inner", "child"]


@pytest.mark.parametrize(
    "edges",
    [
        {"a": ["a"]},
        {"a": ["b"], "b": ["a"]},
        {"a": ["c"], "b": ["a"], "c": ["b"], "d": ["c"], "free": []},
    ],
)
def test_jobs_that_wait_for_each_other_are_refused(hands: Hands, edges: dict[str, list[str]]) -> None:
    with pytest.raises(DependencyCycle, match=r"wait for each other.*Nothing was submitted"):
        hands.submit(*[new_job(job_id, parents) for job_id, parents in edges.items()])
    assert hands.statuses() == {}


def test_a_diamond_is_no_cycle(hands: Hands) -> None:
    hands.submit(new_job("d", ["b", "c"]), new_job("c", ["a"]), new_job("b", ["a"]), "a")
    assert hands.run_all() == ["a", "c", "b", "d"]


# -- what a child is told of its parents -------------------------------------------------------------------------


def test_parents_come_in_the_order_of_the_dependency_list(hands: Hands) -> None:
    hands.submit("a", "b", "c")
    for job_id in "abc":
        hands.run(job_id, result=f'"{job_id}"')
    hands.submit(new_job("child", ["c", "a", "b"]), new_job("other", ["b"]))
    child, other = hands.claim(2)
    large, parents = hands.store.parents([child.seq, other.seq], 1000)
    assert large == {}
    assert [(p.child, p.result) for p in parents] == [
        (child.seq, '"c"'),
        (child.seq, '"a"'),
        (child.seq, '"b"'),
        (other.seq, '"b"'),
    ]


def test_results_too_large_to_hand_over_are_measured_not_read(hands: Hands) -> None:
    hands.submit("a", "b")
    hands.run("a", result='"' + "x" * 98 + '"')
    hands.run("b", result='"' + "x" * 98 + '"')
    hands.submit(new_job("child", ["a", "b"]), new_job("other", ["b"]))
    child, other = hands.claim(2)
    large, parents = hands.store.parents([child.seq, other.seq], 199)
    assert large == {child.seq: 200}
    assert [p.child for p in parents] == [other.seq]
