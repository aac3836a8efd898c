"""Values on their way through a queue: params to the function, results back, and what cannot be stored."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import uuid
from collections.abc import Callable
from typing import Any

import jobs
import pytest
import typed
from extensions import ConnectionsOfItsOwn
from hypothesis import given, settings
from hypothesis import strategies as st

from gigq import InvalidJob, InvalidValue, Job, JobQueue, Worker, codec, current_job

Employ = Callable[..., Any]

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSONABLE = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | NUMBERS, inner, max_size=4),
    max_leaves=10,
)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
RETURNED: dict[str, Any] = {
    "object": {"rows": [1, {"when": object()}]},
    "nan": {"ratio": math.nan},
    "infinity": [1.0, math.inf],
    "surrogate": {"name": "\ud800"},
    "nul": ["a\x00b"],
    "circle": {"circle": CIRCLE},
    "tuple key": {"by": {(1, 2): 3}},
    "function": jobs.nothing,
    "large": "x" * 2000,
}


def give(name: str) -> Any:
    jobs.append(name_of_ledger(), name)
    return RETURNED[name]


LEDGER: list[str] = []


def name_of_ledger() -> str:
    return LEDGER[-1]


class Long:
    def __repr__(self) -> str:
        return "long " * 100_000


RETURNED["long"] = Long()


@given(JSONABLE)
@settings(max_examples=40)
def test_a_value_reaches_the_function_and_comes_back_as_json_gives_it(value: Any) -> None:
    queue = JobQueue(":memory:")
    worker = Worker(queue)
    expected = json.loads(json.dumps(value))
    job_id = queue.submit(Job("one", jobs.echo, {"value": value}))
    assert queue.get_status(job_id)["params"] == {"value": expected}
    assert worker.process_one()
    assert queue.get_result(job_id) == expected
    worker.close()


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, 2), [1, 2]),
        (
            {2: "int", None: "none", True: "true", 1.5: "float"},
            {"2": "int", "null": "none", "true": "true", "1.5": "float"},
        ),
        (2**100, 2**100),
        (Point(1, 2), {"x": 1, "y": 2}),
        (dt.date(2026, 1, 31), "2026-01-31"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.10"), "1.10"),
        (Colour.RED, "red"),
        (b"\x00", "AA=="),
        ({7}, [7]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_named_types_are_stored_in_both_directions(
    queue: JobQueue, worker: Worker, value: Any, stored: Any
) -> None:
    given_one = queue.submit(Job("params", jobs.echo, {"value": value}))
    RETURNED["value"] = value
    LEDGER.append("/dev/null")
    returned_one = queue.submit(Job("result", give, {"name": "value"}))
    for job_id in (given_one, returned_one):
        assert worker.process_one()
        assert queue.get_result(job_id) == stored


# -- results that cannot be stored -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("object", "result['rows'][1]['when']: "),
        ("nan", "result['ratio']: nan"),
        ("infinity", "result[1]: inf"),
        ("surrogate", "result['name']: "),
        ("nul", "result[0]: "),
        ("circle", "or it contains itself"),
        ("tuple key", "result['by']: "),
        ("function", "result: "),
        ("large", "result: 2,002 bytes"),
    ],
)
def test_a_result_that_cannot_be_stored_fails_at_once_and_the_work_is_not_lost(
    queue: JobQueue, make_worker: Callable[..., Worker], name: str, told: str, tmp_path: Any
) -> None:
    worker = make_worker(queue, max_result=1000)
    ledger = tmp_path / "ledger"
    LEDGER.append(str(ledger))
    job_id = queue.submit(Job("one", give, {"name": name}, max_attempts=5))
    assert worker.process_one()
    assert not worker.process_one()
    assert ledger.read_text().split("\n") == [name, ""]  # it ran once
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"], record["result"]) == ("failed", 1, None)
    first = record["error"].partition("\n")[0]
    assert first.startswith("result")
    assert told in first
    shown = repr(RETURNED[name]).replace("\ud800", "\\ud800")
    assert shown in record["error"]
    assert [run["status"] for run in record["executions"]] == ["failed"]


def test_up_to_100_kb_of_it_are_kept(queue: JobQueue, worker: Worker, tmp_path: Any) -> None:
    LEDGER.append(str(tmp_path / "ledger"))
    job_id = queue.submit(Job("one", give, {"name": "long"}))
    assert worker.process_one()
    kept = queue.get_status(job_id)["error"].count("long ")
    assert kept == 100 * 1024 // len("long ")


def test_a_large_result_says_its_limit_and_the_alternative(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    worker = make_worker(queue, max_result=1000)
    job_id = queue.submit(Job("one", jobs.echo, {"value": "x" * 999}))
    assert worker.process_one()
    error = queue.get_status(job_id)["error"].partition("\n")[0]
    assert "limit of 1,000" in error
    assert "file" in error
    assert "max_result=" in error


def test_the_limit_of_params_is_the_queue_s(queue: JobQueue, db: str) -> None:
    with pytest.raises(
        InvalidValue, match=r"job 'one': params: 1,000,012 bytes.*1,000,000.*file.*max_params="
    ):
        queue.submit(Job("one", jobs.echo, {"value": "x" * 1_000_000}))
    for path in (db, ":memory:"):
        more, less = JobQueue(path, max_params=2_000_000), JobQueue(path, max_params=100)
        job_id = more.submit(Job("one", jobs.echo, {"value": "x" * 1_500_000}))
        assert more.get_status(job_id)["params"] == {"value": "x" * 1_500_000}
        with pytest.raises(InvalidValue, match="limit of 100"):
            less.submit_many([Job("one", jobs.nothing), Job("two", jobs.echo, {"value": "x" * 100})])
        assert less.stats()["total"] in (0, 1)


@pytest.mark.parametrize("path", ["file", ":memory:"])
@pytest.mark.parametrize("by_worker", [True, False])
def test_the_limit_of_results_is_the_worker_s_or_else_the_queue_s(
    db: str, path: str, by_worker: bool, make_worker: Callable[..., Worker]
) -> None:
    queue = JobQueue(db if path == "file" else path, max_result=1_000_000 if by_worker else 100)
    worker = make_worker(queue, max_result=100) if by_worker else make_worker(queue)
    assert worker.max_result == 100
    small, large = (queue.submit(Job("one", jobs.echo, {"value": "x" * size})) for size in (98, 99))
    assert worker.process_one()
    assert worker.process_one()
    assert queue.get_result(small) == "x" * 98
    assert "101 bytes of JSON, over the limit of 100" in queue.get_status(large)["error"]


def test_a_larger_limit_lets_larger_values_through(db: str, make_worker: Callable[..., Worker]) -> None:
    size = codec.MAX_RESULT + 1
    queue = JobQueue(db)
    job_id = queue.submit(Job("one", jobs.repeat, {"text": "x", "times": size}))
    assert make_worker(db, max_result=size + 2).process_one()
    assert queue.get_result(job_id) == "x" * size


def test_a_worker_with_seams_of_its_own_has_the_limit_too(db: str, employ: Employ) -> None:
    class Own(Worker):
        def _complete_job(self, *args: Any, **named: Any) -> None:
            super()._complete_job(*args, **named)

    queue = JobQueue(db)
    job_id = queue.submit(Job("one", jobs.echo, {"value": "x" * 99}))
    assert employ(Own, db, max_result=100).process_one()
    assert "limit of 100" in queue.get_status(job_id)["error"]


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1", True, 500_000_001, 10**30], ids=repr)
@pytest.mark.parametrize("option", ["max_params", "max_result"])
def test_a_limit_that_cannot_be_is_refused(db: str, option: str, limit: Any) -> None:
    with pytest.raises(InvalidJob, match=f"{option}: a whole number of bytes from 1 to 500,000,000"):
        JobQueue(db, **{option: limit})
    if option == "max_result":
        with pytest.raises(InvalidJob, match=option):
            Worker(db, max_result=limit)


def test_a_queue_that_never_called_init_has_the_usual_limits(tmp_path: Any, employ: Employ) -> None:
    queue = ConnectionsOfItsOwn(str(tmp_path / "own.db"))
    assert (queue.max_params, queue.max_result) == (codec.MAX_PARAMS, codec.MAX_RESULT)
    with pytest.raises(InvalidValue, match="limit of 1,000,000"):
        queue.submit(Job("one", jobs.echo, {"value": "x" * 1_000_000}))
    assert employ(Worker, queue).max_result == codec.MAX_RESULT


def test_a_result_of_several_megabytes_is_stored(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.repeat, {"text": "é", "times": 4_000_000}))
    assert worker.process_one()
    assert queue.get_result(job_id) == "é" * 4_000_000


def test_rows_of_0_5_1_that_hold_the_token_nan_are_still_read(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    assert worker.process_one()
    waiting = queue.submit(Job("two", jobs.echo))
    with queue._store.engine.writing() as connection:
        connection.execute("UPDATE job SET result = '{\"x\": NaN}' WHERE id = ?", (job_id,))
        connection.execute("UPDATE params SET body = '{\"value\": [Infinity, NaN]}' WHERE seq = 2")
    result = queue.get_result(job_id)
    assert result is not None
    assert math.isnan(result["x"])
    assert math.isnan(queue.get_status(waiting)["params"]["value"][1])
    assert worker.process_one()  # and the function is given them
    assert queue.get_status(waiting)["error"].startswith("result[0]: inf")


# -- params in the types that the function names ----------------------------------------------------------------


def test_named_types_come_back_where_the_annotations_say_how(queue: JobQueue, worker: Worker) -> None:
    when, where = dt.datetime(2026, 1, 31, tzinfo=dt.UTC), typed.Point(1, 2)
    queue.submit(Job("one", typed.several, {"when": when, "where": where, "n": 3, "rest": when}))
    assert worker.process_one()
    assert typed.SEEN.pop() == (when, where, 3, "2026-01-31T00:00:00Z")


def test_a_coroutine_and_a_function_behind_a_decorator_get_them_too(queue: JobQueue, worker: Worker) -> None:
    when = dt.datetime(2026, 1, 31, 12)
    job_id = queue.submit(Job("one", typed.awaited, {"when": when}))
    queue.submit(Job("two", typed.wrapped, {"when": when.date(), "where": typed.Point(1, 2)}))
    assert worker.process_one()
    assert worker.process_one()
    assert queue.get_result(job_id) == "datetime"
    assert typed.SEEN[-2:] == [when, (when.date(), typed.Point(1, 2))]


def test_threads_get_them_too(queue: JobQueue, make_worker: Callable[..., Worker]) -> None:
    days = [dt.date(2026, 1, day) for day in range(1, 31)]
    queue.submit_many([Job("one", typed.one, {"value": day}) for day in days])
    queue.submit(Job("last", jobs.stop_the_worker, priority=-1))
    typed.SEEN.clear()
    worker = make_worker(queue, concurrency=4)
    jobs.STOPPED_BY_JOBS.append(worker)
    worker.start()
    assert sorted(typed.SEEN) == days


def test_a_value_that_does_not_fit_is_the_failure_of_its_run(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", typed.one, {"value": "tomorrow"}, max_attempts=2))
    assert worker.process_one()
    assert queue.get_status(job_id)["status"] == "pending"
    assert worker.process_one()
    record = queue.get_status(job_id)
    assert (record["status"], record["attempts"]) == ("failed", 2)
    assert "parameter 'value' of one cannot be read" in record["error"].partition("\n")[0]


@pytest.mark.parametrize("function", [typed.after, typed.after_any])
def test_the_results_of_parents_are_passed_as_json(queue: JobQueue, worker: Worker, function: Any) -> None:
    day = dt.date(2026, 1, 31)
    parent = queue.submit(Job("parent", jobs.echo, {"value": day}))
    queue.submit(Job("child", function, {"when": day}, dependencies=[parent]))
    assert worker.process_one()
    assert worker.process_one()
    when, results = typed.SEEN.pop()
    assert when == day
    assert results in ({parent: "2026-01-31"}, {"parent_results": {parent: "2026-01-31"}})


def test_current_job_shows_the_params_that_the_function_was_given(queue: JobQueue, worker: Worker) -> None:
    queue.submit(Job("one", sees_its_params, {"day": dt.date(2026, 1, 31)}))
    assert worker.process_one()
    assert typed.SEEN.pop() == {"day": dt.date(2026, 1, 31)}


def sees_its_params(day: dt.date) -> None:
    typed.SEEN.append(current_job().params)


def test_rows_that_were_stored_as_plain_json_are_read_alike(queue: JobQueue, worker: Worker) -> None:
    queue.submit(Job("one", "typed.several", {"when": "2026-01-31T12:00:00", "where": {"x": 1, "y": 2}}))
    assert worker.process_one()
    assert typed.SEEN.pop() == (dt.datetime(2026, 1, 31, 12), typed.Point(1, 2), 0, None)
