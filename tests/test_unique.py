"""Unique: the value, what a job's two fields say together, and what cannot be accepted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import jobs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq import InvalidJob, Job, JobStatus, Unique, codec, task
from gigq.posting import rows
from gigq.unique import CONFLICT_POLICIES

PENDING, RUNNING, COMPLETED = JobStatus.PENDING, JobStatus.RUNNING, JobStatus.COMPLETED


def key_of(**options: Any) -> str:
    """The key that a job would have in the tables."""
    [row] = rows(
        [Job(**{"name": "one", "function": jobs.echo, "unique": True, **options})], codec.MAX_PARAMS, 0
    )
    assert row.unique is not None
    return row.unique.key


def test_a_job_is_like_any_other_if_nothing_is_said() -> None:
    job = Job("one", jobs.nothing)
    assert (job.unique, job.unique_key) == (None, None)
    assert rows([job], codec.MAX_PARAMS, 0)[0].unique is None
    assert rows([Job("one", jobs.nothing, unique=False)], codec.MAX_PARAMS, 0)[0].unique is None


def test_the_default_is_while_pending_or_running_and_to_return_the_other() -> None:
    unique = Unique("k")
    assert (unique.states, unique.period, unique.on_conflict) == ((PENDING, RUNNING), None, "return")


def test_a_debounced_job_that_runs_does_not_keep_the_next_one_away() -> None:
    assert Unique(on_conflict="debounce", period=5).states == (PENDING,)


def test_states_are_named_or_given_in_any_order_and_periods_in_seconds_or_as_timedelta() -> None:
    unique = Unique(states=["completed", JobStatus.RUNNING, "pending"], period=timedelta(minutes=1))
    assert unique.states == (PENDING, RUNNING, COMPLETED)
    assert unique.period == 60


def test_two_that_say_the_same_are_equal() -> None:
    assert Unique("a", period=1) == Unique("a", period=1.0)
    assert len({Unique("a"), Unique("a"), Unique("b")}) == 2
    assert (
        repr(Unique("a")) == "Unique('a', states=['pending', 'running'], period=None, on_conflict='return')"
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"key": ""}, "unique key"),
        ({"key": 5}, "unique key"),
        ({"key": "a\x00b"}, "unique key.*NUL"),
        ({"key": "\ud800"}, "unique key.*surrogate"),
        ({"key": "x" * 1001}, "unique key.*1000"),
        ({"states": "pending"}, "unique states"),
        ({"states": 5}, "unique states"),
        ({"states": ["done"]}, "unique states.*'done'.*pending, running, completed"),
        ({"states": [[]]}, "unique states"),
        ({"states": ["running"]}, "unique states.*'pending'"),
        ({"states": ["pending", "completed"]}, "unique states.*'running'"),
        ({"states": []}, "unique states.*period"),
        ({"period": 0}, "unique period"),
        ({"period": -1.5}, "unique period"),
        ({"period": float("inf")}, "unique period"),
        ({"period": True}, "unique period"),
        ({"period": "1h"}, "unique period"),
        ({"period": timedelta(days=4000)}, "unique period"),
        ({"on_conflict": "ignore"}, "unique on_conflict.*return, skip, raise, replace, debounce"),
        ({"on_conflict": "debounce", "period": 1, "states": []}, "unique states"),
    ],
)
def test_what_cannot_be_accepted_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidJob, match=named):
        Unique(**options)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"unique_key": ""}, "job 'one': unique_key"),
        ({"unique_key": b"k"}, "job 'one': unique_key"),
        ({"unique": "k"}, r"job 'one': unique: True or Unique\(...\)"),
        ({"unique": 1}, "job 'one': unique"),
        ({"unique": False, "unique_key": "k"}, "job 'one': unique: False"),
        ({"unique": Unique("a"), "unique_key": "b"}, "job 'one': unique_key: 'b'.*'a'"),
        ({"unique": Unique(on_conflict="debounce")}, "job 'one': unique.*debounce.*delay"),
        ({"unique": Unique(on_conflict="debounce"), "run_at": "2026-01-01"}, "job 'one': unique.*debounce"),
    ],
)
def test_a_job_names_the_field_at_construction_and_at_submit(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidJob, match=named):
        Job("one", jobs.nothing, **fields)
    job = Job("one", jobs.nothing)
    for field, value in fields.items():
        setattr(job, field, value)
    with pytest.raises(InvalidJob, match=named):
        rows([job], codec.MAX_PARAMS, 0)


@pytest.mark.parametrize("end", ["expires", "deadline"])
def test_a_debounced_job_that_could_never_start_is_refused(end: str) -> None:
    job = Job("one", jobs.nothing, unique=Unique(on_conflict="debounce", period=60))
    setattr(job, end, 60)
    with pytest.raises(InvalidJob, match=f"job 'one': {end}: 60.*never start"):
        rows([job], codec.MAX_PARAMS, 0)


def test_a_task_tells_where_it_is_written() -> None:
    with pytest.raises(InvalidJob, match="unique_key"):
        task(unique_key="")(jobs.echo)
    assert task(unique=True)(jobs.echo).to_job(value=1).unique is True


def test_the_key_is_the_one_that_was_given_wherever() -> None:
    assert key_of(unique_key="k") == "k"
    assert key_of(unique=Unique("k")) == "k"
    assert key_of(unique=Unique(period=5), unique_key="k") == "k"
    assert key_of(unique=None, unique_key="k") == "k"


def test_a_key_of_function_and_params_tells_functions_and_params_apart() -> None:
    assert key_of().startswith("jobs.echo:")
    made = [
        key_of(),
        key_of(function=jobs.add),
        key_of(function="other.echo"),
        key_of(params={"value": 1}),
        key_of(params={"value": "1"}),
        key_of(params={"value": [1]}),
        key_of(params={"value": None}),
    ]
    assert len(set(made)) == len(made)
    assert key_of(name="another name", priority=3) == key_of()


def test_the_order_of_sets_does_not_matter_where_json_alone_knows_the_keys() -> None:
    """With such keys a value takes another way through the codec."""
    words = [f"word {n}" for n in range(20)]
    forth, back = ({True: set(order), None: 1} for order in (words, words[::-1]))
    assert key_of(params={"value": forth}) == key_of(params={"value": back})


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('ab"\\é'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=4)
    ),
    max_leaves=8,
)


def turned(value: Any) -> Any:
    """The same value with every dict in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), VALUES, max_size=4))
def test_the_order_of_params_does_not_matter_at_any_depth(params: dict[str, Any]) -> None:
    assert key_of(params=params) == key_of(params=turned(params))


def test_every_policy_has_its_test_in_flow() -> None:
    assert CONFLICT_POLICIES == ("return", "skip", "raise", "replace", "debounce")
