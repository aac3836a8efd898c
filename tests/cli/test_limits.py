"""gigq limit: what is in force, and how it is changed."""

from __future__ import annotations

import json

import pytest
from terminal import Gigq, MakeJob

from gigq import JobQueue, Limit


@pytest.fixture
def limited(make_job: MakeJob) -> None:
    for _ in range(2):
        make_job(limit=Limit("host:a", concurrency=2, rate="100/min"))


def test_without_a_queue_there_are_no_limits(gigq: Gigq) -> None:
    assert gigq("limit", "list") == (0, "No limits.\n", "")


@pytest.mark.usefixtures("limited")
def test_limits_are_listed(gigq: Gigq) -> None:
    head, row = gigq("limit", "list").out.splitlines()
    assert head.split()[:6] == ["Key", "Concurrency", "Rate", "Running", "Started", "Waiting"]
    assert row.split() == ["host:a", "2", "100/min", "0", "0", "2"]
    [found] = json.loads(gigq("limit", "list", "host:a", "--json").out)
    assert (found["key"], found["waiting"]) == ("host:a", 2)
    assert gigq("limit", "list", "nobody") == (1, "No limit nobody.\n", "")


@pytest.mark.usefixtures("limited")
def test_a_limit_is_set_and_reset(gigq: Gigq, on_file: JobQueue) -> None:
    done = gigq("limit", "set", "host:a", "--concurrency", "1", "--rate", "none")
    assert done == (0, "host:a: concurrency 1, rate unbounded.\n", "")
    assert gigq("limit", "list").out.splitlines()[1].split()[:4] == ["host:a", "1", "(set)", "-"]
    assert json.loads(gigq("limit", "set", "host:a", "--rate", "5/s", "--json").out)["rate"] == "5/s"
    assert gigq("limit", "reset", "host:a").out == "host:a: concurrency 2, rate 100/min.\n"
    assert on_file.limits("host:a")[0]["set_here"] == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("set", "api"), 2, "concurrency, rate or both"),
        (("set", "api", "--concurrency", "0"), 2, "concurrency: "),
        (("set", "api", "--concurrency", "many"), 2, "a whole number or none"),
        (("set", "api", "--rate", "soon"), 2, "rate: "),
        (("reset", "api"), 2, "no limit 'api' is known"),
    ],
)
def test_what_cannot_be_set_is_refused(gigq: Gigq, words: tuple[str, ...], code: int, told: str) -> None:
    answer = gigq("limit", *words)
    assert answer.code == code
    assert told in answer.err
    assert json.loads(gigq("limit", "list", "--json").out) == []
