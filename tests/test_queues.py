"""Whose turn it is at a worker that serves several queues, and what can be the name of one."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq.errors import InvalidJob
from gigq.queues import LONGEST_NAME, Serving, check_name

WEIGHTS = st.dictionaries(st.sampled_from(["a", "b", "c", "*"]), st.integers(1, 9), min_size=1)


def given_turns(serving: Serving, work: dict[str, int], want: int, times: int) -> Counter[str]:
    """Claims, one after the other, from entries that have so many jobs; how many each gave."""
    left, given = dict(work), Counter[str]()
    for _ in range(times):
        wanted = want
        present = [entry for entry in serving.entries if left.get(entry)]
        serving.begin(present)
        while present and wanted:
            for entry, share in serving.shares(present, wanted):
                got = min(share, left[entry])
                left[entry] -= got
                wanted -= got
                given[entry] += got
                serving.took(entry, got)
                if got < share:
                    present.remove(entry)
    return given


@pytest.mark.parametrize("queues", [None, ["a", "*"], {"a": 1}, ["*"], ("b",), {"a": 0.5, "*": 2}])
def test_what_a_worker_can_serve(queues: Any) -> None:
    serving = Serving(queues)
    assert serving.is_everything == (queues is None or list(queues) == ["*"])
    assert serving.entry_of("never named") == "*"


@pytest.mark.parametrize(
    "queues",
    [
        *("mail", "", [], {}, ["mail", "mail"], [""], [7], [None], ["x\x00"], ["x\n"], 7, {"mail"}, {7: 1}),
        *({"mail": weight} for weight in (0, -1, float("inf"), float("nan"), True, "3", None)),
    ],
)
def test_what_no_worker_can_serve(queues: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^queues: "):
        Serving(queues)


@pytest.mark.parametrize(
    "name", [None, "", 7, "*", "a\x00b", "a\nb", "\ud800", "x" * (LONGEST_NAME + 1), b"mail"]
)
def test_what_cannot_be_the_name_of_a_queue(name: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^job 'one': queue: "):
        check_name(name, whose="job 'one': ")


@pytest.mark.parametrize("name", ["mail", "e-mail.eu", "Büro 7", "x" * LONGEST_NAME, "mail=3", "a,b", "**"])
def test_what_can(name: str) -> None:
    assert check_name(name) == name


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_in_order_the_next_gives_only_what_the_one_before_has_not(want: int, first: int, second: int) -> None:
    given = given_turns(Serving(["a", "b"]), {"a": first, "b": second}, want, 1)
    assert given["a"] == min(want, first)
    assert given["b"] == min(want - given["a"], second)


@given(WEIGHTS, st.integers(1, 40), st.integers(0, 2**32))
def test_by_weight_each_gets_its_share_while_all_have_work(
    weights: dict[str, int], want: int, seed: int
) -> None:
    serving = Serving(weights, random.Random(seed).random)
    total = sum(weights.values())
    rounds = 1 + 40 * total // want
    given = given_turns(serving, dict.fromkeys(weights, 10**9), want, rounds)
    assert given.total() == want * rounds
    begun = max(serving._times.values())  # who was drawn last has to wait its first turn out
    for name, weight in weights.items():
        assert abs(given[name] - want * rounds * weight / total) <= 2 + weight * begun


@given(
    WEIGHTS,
    st.dictionaries(st.sampled_from(["a", "b", "c", "*"]), st.integers(0, 30)),
    st.integers(1, 40),
)
def test_no_turn_is_lost_while_any_has_work(weights: dict[str, int], work: dict[str, int], want: int) -> None:
    there = sum(n for name, n in work.items() if name in weights)
    assert given_turns(Serving(weights), work, want, 1).total() == min(want, there)


def test_a_queue_that_had_no_work_saves_up_no_turns() -> None:
    serving = Serving({"a": 1, "b": 1}, lambda: 0.5)
    assert given_turns(serving, {"a": 1000}, 1, 1000) == {"a": 1000}
    given = given_turns(serving, {"a": 1000, "b": 1000}, 1, 100)
    assert given == {"a": 50, "b": 50}


def test_workers_that_run_one_job_and_end_begin_as_often_as_the_weights_say() -> None:
    drawn = random.Random(7)
    begun: Counter[str] = Counter()
    for _ in range(4000):
        begun += given_turns(Serving({"mail": 3, "*": 1}, drawn.random), {"mail": 1, "*": 1}, 1, 1)
    assert 0.7 < begun["mail"] / begun.total() < 0.8
