"""Tags and metadata, and list_jobs with its filters: which jobs are found, in which order, and how one goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jobs
import pytest

from gigq import InvalidJob, Job, JobQueue, Unique, Worker, task
from gigq.store import listing


@task(tags=["nightly", "mail"], metadata={"owner": "ops"})
def decorated() -> None:
    """Declared with both."""


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def put(queue: JobQueue, name: str, queue_name: str) -> str:
    """A job in a queue of another name."""
    return queue.submit(Job(name, jobs.nothing, queue=queue_name))


# -- tags and metadata -------------------------------------------------------------------------------------------


def test_tags_and_metadata_are_shown_as_they_were_given(queue: JobQueue) -> None:
    metadata = {"owner": "ops", "n": [1, None, {"a": 2.5}]}
    job_id = queue.submit(Job("one", jobs.nothing, tags=("b", "a", "b"), metadata=metadata))
    for record in (queue.get_status(job_id), *queue.list_jobs()):
        assert (record["tags"], record["metadata"]) == (["b", "a"], metadata)
    plain = queue.get_status(queue.submit(Job("two", jobs.nothing)))
    assert (plain["tags"], plain["metadata"]) == ([], {})


def test_a_task_declares_them_for_all_its_jobs(queue: JobQueue) -> None:
    record = queue.get_status(decorated.submit(queue))
    assert (record["tags"], record["metadata"]) == (["nightly", "mail"], {"owner": "ops"})


def test_many_jobs_may_have_them_and_others_of_the_same_submission_none(queue: JobQueue) -> None:
    made = [Job(f"j{n}", jobs.nothing, tags=["odd"] if n % 2 else None) for n in range(10)]
    made[4].metadata = {"only": "here"}
    queue.submit_many(made)
    assert ids(queue.list_jobs(tag="odd")) == [job.id for job in reversed(made[1::2])]
    assert [row["name"] for row in queue.list_jobs() if row["metadata"]] == ["j4"]


def test_the_function_is_not_given_them(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.echo, {"value": 7}, tags=["a"], metadata={"value": 8}))
    worker.process_one()
    assert queue.get_result(job_id) == 7


def test_a_cleared_job_leaves_none_behind(queue: JobQueue, worker: Worker) -> None:
    queue.submit(Job("one", jobs.nothing, tags=["a", "b"], metadata={"x": 1}))
    stays = queue.submit(Job("two", jobs.nothing, tags=["a"]))
    worker.process_one()
    assert queue.clear_completed() == 1
    with queue._store._reading() as tx:
        rows = tx._execute("SELECT tag FROM tag UNION ALL SELECT tags FROM annotation").fetchall()
    assert [row[0] for row in rows] == ["a", '["a"]']
    assert ids(queue.list_jobs(tag="a")) == [stays]


def test_a_pending_job_that_is_replaced_gets_those_of_the_new_one(queue: JobQueue) -> None:
    rule = Unique(key="k", on_conflict="replace")
    first = queue.submit(Job("one", jobs.nothing, tags=["a", "b"], metadata={"x": 1}, unique=rule))
    assert queue.submit(Job("one", jobs.nothing, tags=["b", "c"], unique=rule)) == first
    record = queue.get_status(first)
    assert (record["tags"], record["metadata"]) == (["b", "c"], {})
    assert [ids(queue.list_jobs(tag=tag)) for tag in "abc"] == [[], [first], [first]]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tags": "text"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"tags": ["x" * 101]}, "tags"),
        ({"tags": ["a\x00"]}, "tags"),
        ({"tags": ["\ud800"]}, "tags"),
        ({"tags": [str(n) for n in range(33)]}, "tags"),
        ({"tags": 0}, "tags"),
        ({"metadata": ["a"]}, "metadata"),
        ({"metadata": {1: "a"}}, "metadata"),
        ({"metadata": {"a": float("nan")}}, r"metadata\['a'\]"),
        ({"metadata": {"a": object()}}, r"metadata\['a'\]"),
        ({"metadata": {"a": "x" * 16_000}}, "metadata"),
    ],
)
def test_what_cannot_be_accepted_is_refused_naming_job_and_field(
    queue: JobQueue, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidJob, match=rf"job 'one': {field}: "):
        Job("one", jobs.nothing, **options)
    changed = Job("one", jobs.nothing)
    for name, value in options.items():
        setattr(changed, name, value)
    with pytest.raises(InvalidJob, match=rf"job 'one': {field}: "):
        queue.submit_many([Job("fine", jobs.nothing), changed])
    assert queue.stats()["total"] == 0


def test_the_largest_that_are_accepted_are_stored(queue: JobQueue) -> None:
    tags = [f"{n:0100}" for n in range(32)]
    metadata = {"a": "x" * (16_000 - len('{"a":""}'))}
    record = queue.get_status(queue.submit(Job("one", jobs.nothing, tags=tags, metadata=metadata)))
    assert (record["tags"], record["metadata"]) == (tags, metadata)


# -- filters -----------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(queue: JobQueue, worker: Worker) -> dict[str, str]:
    """One job of each kind, by a word for it."""
    found = {
        "done": queue.submit(Job("done", jobs.echo, {"value": "https://example.org/a_b"}, tags=["web"])),
        "broken": queue.submit(Job("broken", jobs.fail, max_attempts=1, description="Breaks 100%")),
    }
    while worker.process_one():
        pass
    return found | {
        "web": queue.submit(Job("web", jobs.echo, {"value": 'a "quoted" word'}, tags=["web", "x"])),
        "mail": put(queue, "mail", "mail"),
        "noted": queue.submit(Job("noted", "other.nothing", metadata={"customer": "Ärger"})),
    }


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, "noted mail web broken done"),
        ({"queue": "mail"}, "mail"),
        ({"queue": "default"}, "noted web broken done"),
        ({"queue": "nobody's"}, ""),
        ({"queue": "mail", "status": "pending"}, "mail"),
        ({"queue": "mail", "status": "failed"}, ""),
        ({"queue": "default", "status": "failed"}, "broken"),
        ({"task": jobs.echo}, "web done"),
        ({"task": "jobs.echo"}, "web done"),
        ({"task": "nothing"}, "noted mail"),
        ({"task": "other.nothing"}, "noted"),
        ({"task": "jobs.echo", "status": "pending"}, "web"),
        ({"tag": "web"}, "web done"),
        ({"tag": "web", "status": "completed"}, "done"),
        ({"tag": "web", "queue": "mail"}, ""),
        ({"tag": "WEB"}, ""),
        ({"search": "EXAMPLE.org"}, "done"),
        ({"search": "a_b"}, "done"),
        ({"search": "%"}, "broken"),
        ({"search": 'a "quoted" word'}, "web"),
        ({"search": "\\"}, "web"),
        ({"search": "Ärger"}, "noted"),
        ({"search": "customer"}, "noted"),
        ({"search": '"x"'}, "web"),
        ({"search": "it BROKE"}, "broken"),
        ({"search": "web", "status": "pending"}, "web"),
        ({"search": "nowhere"}, ""),
        ({"search": "\ud800"}, ""),
    ],
)
def test_each_filter_finds_what_it_should_newest_first(
    queue: JobQueue, filled: dict[str, str], filters: dict[str, Any], wanted: str
) -> None:
    names = {job_id: word for word, job_id in filled.items()}
    assert " ".join(names[job_id] for job_id in ids(queue.list_jobs(**filters))) == wanted


def test_a_job_is_found_by_its_id_and_its_name(queue: JobQueue, filled: dict[str, str]) -> None:
    assert ids(queue.list_jobs(search=filled["web"][-12:].upper())) == [filled["web"]]
    assert ids(queue.list_jobs(search="broke")) == [filled["broken"]]


def test_a_task_can_be_given_as_it_is_decorated(queue: JobQueue) -> None:
    job_id = decorated.submit(queue)
    assert ids(queue.list_jobs(task=decorated)) == [job_id]


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"queue": 5}, "queue"),
        ({"task": "not a name"}, "task"),
        ({"task": 5}, "task"),
        ({"task": lambda: None}, "task"),
        ({"tag": ""}, "tag"),
        ({"tag": ["a"]}, "tag"),
        ({"search": ""}, "search"),
        ({"search": "x" * 1001}, "search"),
        ({"search": "a\x00b"}, "search"),
        ({"before": "no such id"}, "before"),
        ({"before": 5}, "before"),
        ({"before": "@"}, "before"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_naming_it(
    queue: JobQueue, filters: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidJob, match=f"^{field}: "):
        queue.list_jobs(**filters)


# -- going on ----------------------------------------------------------------------------------------------------

Filters = dict[str, Any]
FILTERS: list[Filters] = [
    {},
    {"status": "pending"},
    {"tag": "t"},
    {"queue": "q"},
    {"queue": "default"},
    {"task": "jobs.nothing"},
    {"search": "job"},
    {"queue": "q", "tag": "t"},
    {"queue": "q", "status": "pending"},
]


def fill(queue: JobQueue) -> None:
    queue.submit_many(
        Job(f"job {n}", jobs.nothing, tags=["t"] if n % 3 else None, queue="default" if n % 2 else "q")
        for n in range(25)
    )


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("limit", [1, 4, 25, 26])
def test_pages_are_the_whole_list_in_order_without_gap_or_double(
    queue: JobQueue, filters: Filters, limit: int
) -> None:
    fill(queue)
    whole = queue.list_jobs(**filters)
    assert whole.next is None
    pages = []
    before = None
    for _ in range(30):
        page = queue.list_jobs(limit=limit, before=before, **filters)
        pages.append(page)
        before = page.next
        if before is None:
            break
    assert all(len(page) == limit for page in pages[:-1])
    assert list(itertools.chain(*pages)) == whole


def test_an_id_is_a_place_too_and_next_stays_good_when_that_job_is_cleared(queue: JobQueue) -> None:
    made = [queue.submit(Job(f"job {n}", jobs.nothing)) for n in range(6)]
    page = queue.list_jobs(limit=3)
    assert ids(queue.list_jobs(before=page[-1]["id"])) == made[2::-1]
    queue.cancel(made[3])
    queue.submit(Job("newer", jobs.nothing))
    assert queue.clear_completed() == 1
    assert ids(queue.list_jobs(before=page.next)) == made[2::-1]
    with pytest.raises(InvalidJob, match="'next' of a list stays good"):
        queue.list_jobs(before=made[3])


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_call_looks_at_a_bounded_number_of_jobs_and_says_where_to_go_on(
    queue: JobQueue, filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(queue)
    whole = queue.list_jobs(**filters)
    monkeypatch.setattr(listing, "_PIECE", 2)
    monkeypatch.setattr(listing, "_SEARCHED", 2)
    monkeypatch.setattr(listing, "MOST", 4)
    found: list[dict[str, Any]] = []
    before, calls = None, 0
    while calls == 0 or before is not None:
        page = queue.list_jobs(before=before, **filters)
        assert len(page) <= 4 or filters in FILTERS[:4]
        found += page
        before, calls = page.next, calls + 1
    assert found == whole
    assert (calls > 1) == (filters not in FILTERS[:4]), "what an index knows needs no looking"


def test_a_search_reads_no_further_than_it_must(
    queue: JobQueue, count_statements: Callable[[], list[str]]
) -> None:
    queue.submit_many([Job(f"job {n}", jobs.nothing) for n in range(990)])
    seen = count_statements()
    assert len(queue.list_jobs(search="job", limit=10)) == 10
    assert sum("LIKE" in text for text in seen) == 1
    seen.clear()
    assert len(queue.list_jobs(search="job 7", limit=200)) == 111
    assert sum("LIKE" in text for text in seen) == 5, "200 jobs in one read"


@pytest.fixture
def count_statements(queue: JobQueue) -> Callable[[], list[str]]:
    """Texts of the statements that this thread executes from now on."""

    def begin() -> list[str]:
        seen: list[str] = []
        queue._store.engine.connection().set_trace_callback(seen.append)
        return seen

    return begin
