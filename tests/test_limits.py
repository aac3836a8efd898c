"""Limits as values: keys from params, rates as text, and what cannot be accepted."""

from __future__ import annotations

import enum
import uuid
from typing import Any

import jobs
import limitedjobs
import pytest

from gigq import InvalidJob, Job, JobQueue, Limit, task
from gigq.limits import Share, known_rate, shares, shown_rate


class Colour(enum.Enum):
    RED = "red"


def host_of(params: dict[str, Any]) -> str:
    return str(params["url"]).partition("://")[2].partition("/")[0]


@pytest.mark.parametrize(
    ("key", "params", "filled"),
    [
        ("api", {}, "api"),
        ("host:{host}", {"host": "a.example"}, "host:a.example"),
        ("{a}-{b}", {"a": 1, "b": 2.5}, "1-2.5"),
        ("page:{page.url}", {"page": {"url": "u"}}, "page:u"),
        ("{rows.1.id}", {"rows": [{"id": 3}, {"id": 4}]}, "4"),
        ("{{literal}} {x}", {"x": True}, "{literal} True"),
        ("{colour}", {"colour": Colour.RED}, "red"),
        ("{id}", {"id": uuid.UUID(int=0)}, "00000000-0000-0000-0000-000000000000"),
        (host_of, {"url": "https://b.example/x"}, "b.example"),
    ],
)
def test_a_key_is_made_of_the_params(key: Any, params: dict[str, Any], filled: str) -> None:
    assert Limit(key, concurrency=1).share(params).key == filled


@pytest.mark.parametrize(
    ("rate", "amount", "seconds"),
    [
        ("100/min", 100, 60),
        ("5/s", 5, 1),
        ("1000/day", 1000, 86400),
        ("20/30s", 20, 30),
        (" 1_000 / 2 Hours", 1000, 7200),
        ("3/0.5s", 3, 0.5),
        ((7, 2.5), 7, 2.5),
        ([7, 60], 7, 60),
    ],
)
def test_a_rate_is_so_many_in_such_a_time(rate: Any, amount: int, seconds: float) -> None:
    assert known_rate(rate, "") == (amount, round(seconds * 1e6))
    assert known_rate(shown_rate(*known_rate(rate, "")), "") == (amount, round(seconds * 1e6))


def test_a_cost_is_a_number_a_template_or_a_function() -> None:
    params = {"pages": 3, "text": "abcd", "digits": "12"}
    for cost, units in ((2, 2), ("{pages}", 3), (lambda given: len(given["text"]), 4), ("{digits}", 12)):
        assert Limit("k", rate="20/s", cost=cost).share(params).cost == units


def test_the_limits_of_a_job_are_in_the_order_of_their_keys() -> None:
    both = [Limit("b", rate="2/s"), Limit("a", concurrency=3)]
    assert shares(both, {}) == [Share("a", 3, None, None, 1), Share("b", None, 2, 1_000_000, 1)]
    assert shares(Limit("a", concurrency=3), {}) == [Share("a", 3, None, None, 1)]
    assert shares([], {}) is None


def test_a_limit_shows_how_it_was_made() -> None:
    assert repr(Limit("a", concurrency=2, rate="5/s", cost="{n}")) == (
        "Limit('a', concurrency=2, rate='5/s', cost='{n}')"
    )
    assert repr(Limit("a", concurrency=2)) == "Limit('a', concurrency=2)"


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "concurrency, rate or both"),
    ({"concurrency": 0}, "concurrency: .*at least 1.*not 0"),
    ({"concurrency": -1}, "concurrency: "),
    ({"concurrency": 1.5}, "concurrency: "),
    ({"concurrency": True}, "concurrency: "),
    ({"concurrency": 2**60}, "concurrency: "),
    ({"rate": "fast"}, "rate: .*not 'fast'"),
    ({"rate": "0/s"}, "rate: "),
    ({"rate": "5/fortnight"}, "rate: "),
    ({"rate": "5"}, "rate: "),
    ({"rate": (5,)}, "rate: "),
    ({"rate": (5, "s")}, "rate: "),
    ({"rate": (5, float("nan"))}, "rate: "),
    ({"rate": (5, 0)}, "rate: .*0.001 s to 366 days"),
    ({"rate": "5/9999days"}, "rate: .*366 days"),
    ({"rate": 5}, "rate: "),
    ({"concurrency": 2, "cost": 0}, "cost: "),
    ({"concurrency": 2, "cost": None}, "cost: "),
    ({"concurrency": 2, "cost": 3}, "cost: 3 is more than the concurrency of 2"),
    ({"rate": "2/s", "cost": 3}, "cost: 3 is more than the rate of 2"),
]


@pytest.mark.parametrize(("options", "told"), BAD, ids=[str(options) for options, _ in BAD])
def test_what_cannot_be_accepted_is_refused_where_it_is_written(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidJob, match=f"limit 'api': {told}"):
        Limit("api", **options)


@pytest.mark.parametrize("key", ["{", "{}", "{a!r}", "{a:3}", "{a[0]}", "{a..b}", "{a b}", 5, None])
def test_a_key_that_is_no_template_is_refused(key: Any) -> None:
    with pytest.raises(InvalidJob, match=r"limit .*: key: "):
        Limit(key, concurrency=1)


def missing(params: dict[str, Any]) -> str:
    return str(params["host"])


BAD_JOBS: list[tuple[Limit | list[Limit], str]] = [
    (Limit("host:{host}", concurrency=1), "key: .*'host' is not among the params"),
    (Limit("{page.host}", concurrency=1), "key: .*page.host, but 'host' is not in page"),
    (Limit("{page.__class__}", concurrency=1), "is not in page"),
    (Limit("{page}", concurrency=1), "key: the parameter page is {.*text or a number"),
    (Limit("{nothing}", concurrency=1), "key: the parameter nothing is None"),
    (Limit("{empty}", concurrency=1), "key: text of 1 to 200 characters"),
    (Limit("{long}", concurrency=1), "key: text of 1 to 200 characters"),
    (Limit("{control}", concurrency=1), "key: without control characters"),
    (Limit("a & b", concurrency=1), "key: without control characters and ' & '"),
    (Limit(missing, concurrency=1), "key: its function raised KeyError: 'host'"),
    (Limit(lambda params: 5, concurrency=1), "key: text of 1"),  # type: ignore[arg-type, return-value]
    (Limit("a", concurrency=1, cost="{nope}"), "cost: .*'nope' is not among the params"),
    (Limit("a", concurrency=1, cost="{empty}"), "cost: a whole number of at least 1"),
    (Limit("a", concurrency=9, cost="{eleven}"), "cost: 11 is more than the concurrency of 9"),
    ([Limit("a", concurrency=1), Limit("{a}", rate="1/s")], "two limits have the key 'a'"),
]


@pytest.mark.parametrize(("limit", "told"), BAD_JOBS, ids=[told for _, told in BAD_JOBS])
def test_what_cannot_be_applied_is_refused_at_submit_and_nothing_is_written(
    queue: JobQueue, limit: Limit | list[Limit], told: str
) -> None:
    params: dict[str, Any] = {
        "page": {},
        "nothing": None,
        "empty": "",
        "long": "x" * 201,
        "control": "a\nb",
        "eleven": 11,
        "a": "a",
    }
    job = Job("fetch", limitedjobs.anything, params, limit=limit)
    with pytest.raises(InvalidJob, match=f"job 'fetch': limit.*{told}"):
        queue.submit(job)
    with pytest.raises(InvalidJob, match="job 'fetch': limit"):
        queue.submit_many([Job("fine", jobs.nothing, limit=Limit("fine", concurrency=1)), job])
    assert queue.list_jobs() == []
    assert queue.limits() == []


@pytest.mark.parametrize("limit", ["api", 3, {"key": "a"}, [Limit("a", concurrency=1), "b"]])
def test_only_limits_limit_a_job(limit: Any) -> None:
    with pytest.raises(InvalidJob, match="job 'x': limit: a Limit or a list of them"):
        Job("x", jobs.nothing, limit=limit)


def test_a_job_has_few_limits() -> None:
    with pytest.raises(InvalidJob, match="at most 8 limits, not 9"):
        Job("x", jobs.nothing, limit=[Limit(f"k{n}", concurrency=1) for n in range(9)])


def test_a_task_has_the_limit_that_its_params_make(queue: JobQueue) -> None:
    fetch = task(limitedjobs.anything, limit=Limit("host:{host}", concurrency=2, rate="100/min"))
    job_id = fetch.submit(queue, host="a.example")
    assert queue.get_status(job_id)["limits"] == ["host:a.example"]
    assert queue.get_status(queue.submit(Job("free", jobs.nothing)))["limits"] == []
    with pytest.raises(InvalidJob, match="host"):
        fetch.submit(queue)
