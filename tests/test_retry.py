"""Retry policies as values: what is accepted, what is stored, and how long it waits."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import controls
import jobs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq import Exponential, InvalidJob, Job, JobQueue, retry, task
from gigq.clock import LONGEST, SECOND

SECONDS = st.floats(0.001, 1e6) | st.integers(1, 1_000_000)
POLICIES = (
    SECONDS
    | st.lists(SECONDS, min_size=1, max_size=8)
    | st.builds(
        Exponential,
        SECONDS,
        st.floats(1, 100) | st.integers(1, 100),
        st.floats(0.001, LONGEST),
        st.booleans(),
        st.booleans(),
    )
)


def spec_of(policy: Any) -> retry.Spec:
    text = retry.stored(policy, None, None)
    assert text is not None
    return retry.read(text)


# -- how long ----------------------------------------------------------------------------------------------------


@given(SECONDS, st.floats(1, 50), SECONDS, st.integers(1, 10_000))
def test_an_exponential_delay_grows_up_to_its_cap(
    base: float, factor: float, cap: float, attempt: int
) -> None:
    plain = Exponential(base, factor, cap, jitter=False)
    delay = plain.delay(attempt)
    assert plain.delay(1) == min(base, cap)
    assert 0 < delay <= cap
    assert delay <= plain.delay(attempt + 1)
    if delay < cap / 2 / factor:
        assert plain.delay(attempt + 1) == pytest.approx(delay * factor)


@given(SECONDS, st.floats(1, 50), SECONDS, st.integers(1, 100), st.integers())
def test_full_jitter_lies_between_nothing_and_the_delay(
    base: float, factor: float, cap: float, attempt: int, seed: int
) -> None:
    most = Exponential(base, factor, cap, jitter=False).delay(attempt)
    drawn = Exponential(base, factor, cap).delay(attempt, random.Random(seed).uniform)
    assert 0 <= drawn <= most


def test_full_jitter_uses_the_whole_range_and_nobody_seeds_it() -> None:
    policy = Exponential(base=100)
    drawn = []
    for _ in range(300):
        random.seed(1)  # as a job may
        drawn.append(policy.delay(1))
    assert min(drawn) < 20
    assert max(drawn) > 80


def test_the_jitter_is_that_of_the_given_chance() -> None:
    spec = spec_of(Exponential(base=10, factor=3))
    assert retry.delay(spec, 3, lambda low, high: low + (high - low) / 4) == 22_500_000


@given(POLICIES, st.integers(1, 10_000))
def test_what_is_stored_waits_as_long_as_what_was_declared(policy: Any, attempt: int) -> None:
    found = retry.delay(spec_of(policy), attempt, lambda low, high: high)
    if isinstance(policy, Exponential):
        expected = policy.delay(attempt, lambda low, high: high)
    elif isinstance(policy, list):
        expected = policy[min(attempt, len(policy)) - 1]
    else:
        expected = policy
    assert found == round(expected * SECOND)
    assert 0 <= found <= LONGEST * SECOND


@given(POLICIES)
def test_what_is_stored_is_small_json_and_says_it_in_words(policy: Any) -> None:
    text = retry.stored(policy, [ValueError], "KeyError")
    assert text is not None
    assert len(text) < 500
    spec = json.loads(text)
    assert (spec["retry_on"], spec["fail_on"]) == (["builtins.ValueError"], ["builtins.KeyError"])
    assert retry.in_words(spec).endswith("; on ValueError; not on KeyError")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (30, "after 30 s"),
        (timedelta(minutes=1), "after 60 s"),
        ([1, 5, 0.5], "after 1, 5, 0.5 s"),
        (Exponential(), "after 1 s, times 2, up to 3600 s, with jitter"),
        (Exponential(2, 3, 60, jitter=False), "after 2 s, times 3, up to 60 s"),
        (jobs.nothing, "as jobs.nothing says"),
    ],
)
def test_a_policy_in_words(policy: Any, words: str) -> None:
    assert retry.in_words(spec_of(policy)) == words


def test_an_exponential_is_a_value() -> None:
    assert Exponential() == Exponential(1, 2, 3600) != Exponential(jitter=False)
    assert len({Exponential(), Exponential(1), Exponential(2)}) == 2
    assert eval(repr(Exponential(3, cap=9))) == Exponential(3, cap=9)
    assert Exponential() != "Exponential()"


# -- as text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("30", 30),
        (" 0.5 ", 0.5),
        ("1,5, 60", [1, 5, 60]),
        ("exponential", Exponential()),
        ("exponential:", Exponential()),
        ("exponential:base=2, cap=60,jitter=no", Exponential(2, cap=60, jitter=False)),
        (
            "exponential:factor=1.5,respect_retry_after=off",
            Exponential(factor=1.5, respect_retry_after=False),
        ),
        ("mine.policies.patient", "mine.policies.patient"),
    ],
)
def test_a_policy_may_be_given_as_text(text: str, policy: Any) -> None:
    assert retry.parsed(text) == policy
    expected = {"call": policy} if isinstance(policy, str) else spec_of(policy)
    assert spec_of(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "1,",
        "soon",
        "-1",
        "nan",
        "1e99",
        "1,x",
        "exponential:base",
        "exponential:base=x",
        "exponential:base=1,base=2",
        "exponential:depth=2",
        "exponential:jitter=perhaps",
        "exponential:base=0",
        "exponentially",
        "a..b",
        "a.class",
        "1.b",
        "mine:policy",
    ],
)
def test_text_that_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InvalidJob, match=r"retry: |Exponential: "):
        Job("one", jobs.nothing, retry=text)


# -- what bad input gets -----------------------------------------------------------------------------------------


def nested() -> Any:
    class Local(Exception):
        pass

    def policy(attempt: int, error: Any) -> None: ...

    return Local, policy


LOCAL, CLOSURE = nested()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": -1}, "retry: seconds from 0 up"),
        ({"retry": True}, "retry: seconds from 0 up"),
        ({"retry": float("nan")}, "retry: seconds from 0 up"),
        ({"retry": timedelta(days=-1)}, "retry: seconds from 0 up"),
        ({"retry": [1, -1]}, "retry: seconds from 0 up"),
        ({"retry": [1, "2"]}, "retry: seconds from 0 up"),
        ({"retry": []}, "retry: a list of 1 to 1000 delays"),
        ({"retry": [1] * 1001}, "retry: a list of 1 to 1000 delays"),
        ({"retry": {"base": 1}}, "retry: seconds from 0 up"),
        ({"retry": lambda attempt, error: 1}, "retry: function: a lambda"),
        ({"retry": CLOSURE}, "retry: function: .*nested"),
        ({"retry": [].append}, "retry: function: "),
        ({"retry": controls.say_async}, "retry: say_async is a coroutine function"),
        ({"retry": ValueError}, "retry: .*not the class ValueError; exceptions belong to retry_on"),
        ({"retry": dict}, "retry: .*not the class dict$"),
        ({"retry": 5, "retry_delay": 5}, "retry: says how long to wait, and so does retry_delay"),
        ({"retry_on": []}, "retry_on: is empty"),
        ({"retry_on": 5}, "retry_on: exception classes"),
        ({"retry_on": [int]}, "retry_on: exception classes"),
        ({"retry_on": "ConectionError"}, "retry_on: 'ConectionError' is no builtin exception"),
        ({"retry_on": ["print"]}, "retry_on: 'print' is no builtin exception"),
        ({"fail_on": "a b.c"}, "fail_on: 'a b.c' is not of the form"),
        ({"fail_on": [LOCAL]}, "fail_on: .*Local cannot be found again by a worker"),
        ({"fail_on": {"ValueError": 1}}, "fail_on: exception classes"),
    ],
)
def test_what_cannot_be_is_refused_naming_job_and_field(
    queue: JobQueue, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidJob, match=f"^job 'one': {message}"):
        Job("one", jobs.nothing, **options)
    with pytest.raises(InvalidJob, match=message):
        task(jobs.nothing, **options)
    job = Job("one", jobs.nothing)
    for field, value in options.items():
        setattr(job, field, value)
    with pytest.raises(InvalidJob, match=message):
        queue.submit_many([Job("other", jobs.nothing), job])
    assert queue.stats()["total"] == 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"base": 0}, "base"),
        ({"base": "1"}, "base"),
        ({"factor": 0.5}, "factor"),
        ({"factor": float("inf")}, "factor"),
        ({"cap": -1}, "cap"),
        ({"cap": 1e12}, "cap"),
        ({"jitter": 1}, "jitter"),
        ({"respect_retry_after": None}, "respect_retry_after"),
    ],
)
def test_an_exponential_names_the_argument_that_cannot_be(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidJob, match=f"Exponential: {field}: "):
        Exponential(**options)


# -- what a job declares -----------------------------------------------------------------------------------------


def test_a_job_shows_its_policy(queue: JobQueue) -> None:
    def shown(**options: Any) -> Any:
        return queue.get_status(queue.submit(Job("one", jobs.nothing, **options)))["retry"]

    assert shown() is None
    assert shown(fail_on=[]) is None
    assert shown(retry=30) == {"delay": 30}
    assert shown(retry=timedelta(minutes=1.5)) == {"delay": 90}
    assert shown(retry=(1, 2)) == {"delays": [1, 2]}
    assert shown(retry=Exponential(cap=60)) == {"base": 1, "factor": 2, "cap": 60, "jitter": True}
    assert shown(retry=Exponential(respect_retry_after=False))["respect_retry_after"] is False
    assert shown(retry=jobs.nothing) == shown(retry=task(jobs.nothing)) == {"call": "jobs.nothing"}
    assert shown(retry_on=OSError, fail_on=["a.b.C"]) == {
        "retry_on": ["builtins.OSError"],
        "fail_on": ["a.b.C"],
    }
    assert queue.list_jobs()[0]["retry"] == {"retry_on": ["builtins.OSError"], "fail_on": ["a.b.C"]}


def test_a_task_passes_its_policy_on() -> None:
    job = task(retry=[1, 5], retry_on=(OSError, controls.HTTPError), fail_on="KeyError")(
        jobs.nothing
    ).to_job()
    assert retry.read(job.retry_policy() or "") == {
        "delays": [1, 5],
        "retry_on": ["builtins.OSError", "controls.HTTPError"],
        "fail_on": ["builtins.KeyError"],
    }
