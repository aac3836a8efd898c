"""gigq status, list, stats, cancel, requeue, clear."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import terminal
from clocks import TurnedClock
from terminal import Gigq, MakeJob

from gigq import Job, JobQueue, JobStatus, Worker


def _local(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S")


# -- status ------------------------------------------------------------------------------------------------------


def test_status_of_a_pending_job_word_for_word(gigq: Gigq, make_job: MakeJob, on_file: JobQueue) -> None:
    job_id = make_job(name="report")
    created = _local(on_file.get_status(job_id)["created_at"])
    answer = gigq("status", job_id)
    assert answer.code == 0
    assert answer.err == ""
    assert answer.out.splitlines() == [
        f"Job: report ({job_id})",
        "Status: pending",
        f"Created: {created}",
        f"Updated: {_local(on_file.get_status(job_id)['updated_at'])}",
        "Started: -",
        "Completed: -",
        "Attempts: 0 / 3",
    ]


def test_status_shows_parameters_result_and_runs_when_asked(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, work: Callable[[], None]
) -> None:
    params = {"value": {"text": "no quotes", "n": 3, "ok": True}}
    job_id = make_job("echo", params=params)
    work()
    job = on_file.get_status(job_id)
    run = job["executions"][0]
    lines = gigq("status", job_id, "--show-params", "--show-result", "--show-executions").out.splitlines()
    assert lines[4:6] == [
        f"Started: {_local(job['started_at'])}",
        f"Completed: {_local(job['completed_at'])}",
    ]
    assert lines[6:14] == [
        "Attempts: 1 / 3",
        "",
        "Parameters:",
        "  value: {'text': 'no quotes', 'n': 3, 'ok': True}",
        "",
        "Result:",
        "  text: no quotes",
        "  n: 3",
    ]
    assert lines[14:17] == ["  ok: True", "", "Executions:"]
    assert lines[17].split() == ["ID", "Started", "Completed", "Status"]
    times = [_local(run["started_at"]), _local(run["completed_at"])]
    assert lines[18].split("  ") == [run["id"], *times, "completed"]
    assert len(lines) == 19


def test_status_says_how_a_failed_job_is_tried_again_and_when(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, work: Callable[[], None]
) -> None:
    job_id = make_job("fail", retry=[600, 1200], fail_on=KeyError)
    told = "Retry: after 600, 1200 s; not on KeyError"
    assert gigq("status", job_id).out.splitlines()[-1] == told
    work()
    lines = gigq("status", job_id).out.splitlines()
    due = on_file.get_status(job_id)["retry_after"]
    assert lines[6:9] == ["Attempts: 1 / 3", told, f"Next try: {_local(due)}"]
    assert "Retry: after 2.5 s" in gigq("status", make_job(retry_delay=2.5)).out.splitlines()


def test_status_names_a_queue_that_is_not_the_default_one(gigq: Gigq, make_job: MakeJob) -> None:
    assert gigq("status", make_job(queue="mail")).out.splitlines()[-1] == "Queue: mail"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("two\nlines", "  two\\nlines"), ([1, "a"], "  [1, 'a']"), (0, "  0"), (False, "  False")],
)
def test_a_result_that_is_not_a_dict_takes_one_line(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None], value: object, shown: str
) -> None:
    job_id = make_job("echo", params={"value": value})
    work()
    assert gigq("status", job_id, "--show-result").out.splitlines()[-2:] == ["Result:", shown]


def test_status_without_flags_shows_neither_parameters_nor_result(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None]
) -> None:
    job_id = make_job("echo", params={"value": "secret"})
    work()
    assert "secret" not in gigq("status", job_id).out


def test_status_of_a_failed_job_names_the_error_first_and_then_the_traceback(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None]
) -> None:
    job_id = make_job("fail", params={"message": "the reason"}, max_attempts=2)
    work()
    lines = gigq("status", job_id).out.splitlines()
    assert lines[1] == "Status: failed"
    assert lines[6:9] == [
        "Attempts: 2 / 2",
        "Error: ValueError: the reason",
        "  Traceback (most recent call last):",
    ]
    assert all(line.startswith("  ") for line in lines[8:])
    assert lines[-1] == "  ValueError: the reason"


def test_status_of_a_running_job_names_its_worker(gigq: Gigq, db: str, make_job: MakeJob) -> None:
    job_id = make_job()
    worker = Worker(db, worker_id="my-worker")
    worker._claim_job()
    assert "Worker: my-worker" in gigq("status", job_id).out.splitlines()
    assert "Attempts: 1 / 3" in gigq("status", job_id).out.splitlines()
    worker.close()


def test_status_in_json_is_the_record_of_get_status(gigq: Gigq, make_job: MakeJob, on_file: JobQueue) -> None:
    job_id = make_job("echo", params={"value": [1, None]})
    assert json.loads(gigq("status", job_id, "--json").out) == on_file.get_status(job_id)


def test_an_unknown_job_is_not_found(gigq: Gigq, make_job: MakeJob) -> None:
    make_job()
    answer = gigq("status", "nope")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "Job nope not found. See which there are: gigq list\n"
    assert json.loads(gigq("status", "nope", "--json").out) == {"exists": False}


# -- ids ---------------------------------------------------------------------------------------------------------


def test_a_unique_beginning_or_end_of_an_id_is_enough(gigq: Gigq, on_file: JobQueue) -> None:
    for job_id in ("aaaa-1111", "aabb-2222"):
        job = Job("n", "jobs.nothing")
        job.id = job_id
        on_file.submit(job)
    for text in ("aaaa", "1111", "aaaa-1111", " aaa "):
        assert gigq("status", text).out.startswith("Job: n (aaaa-1111)\n"), text
    answer = gigq("cancel", "2222")
    assert (answer.code, answer.out) == (0, "Job aabb-2222 cancelled.\n")


def test_a_whole_id_is_never_ambiguous(gigq: Gigq, on_file: JobQueue) -> None:
    for job_id in ("job-1", "job-11"):
        job = Job("n", "jobs.nothing")
        job.id = job_id
        on_file.submit(job)
    assert gigq("cancel", "job-1").out == "Job job-1 cancelled.\n"


@pytest.mark.parametrize("command", ["status", "cancel", "requeue", "result", "wait"])
def test_an_ambiguous_id_is_refused_with_the_ids_that_fit(
    gigq: Gigq, on_file: JobQueue, command: str
) -> None:
    for number in range(7):
        job = Job("n", "jobs.nothing")
        job.id = f"same-{number}"
        on_file.submit(job)
    answer = gigq(command, "same")
    assert (answer.code, answer.out) == (1, "")
    assert "several fit:\n  same-0\n  same-1\n" in answer.err
    assert "  ...\n" in answer.err
    assert on_file.stats()["pending"] == 7


def test_a_beginning_that_is_the_end_of_another_is_ambiguous(gigq: Gigq, on_file: JobQueue) -> None:
    for job_id in ("abc-1", "2-abc"):
        job = Job("n", "jobs.nothing")
        job.id = job_id
        on_file.submit(job)
    answer = gigq("cancel", "abc")
    assert (answer.code, answer.out) == (1, "")
    assert "several fit:\n  abc-1\n  2-abc\n" in answer.err
    assert gigq("cancel", "abc-").out == "Job abc-1 cancelled.\n"
    assert gigq("cancel", "2-ab").out == "Job 2-abc cancelled.\n"


@pytest.mark.parametrize("text", ["", "   ", "\udcff", "%", "_"])
def test_what_is_no_id_finds_nothing(gigq: Gigq, make_job: MakeJob, text: str) -> None:
    make_job()
    assert gigq("status", text).code == 1


@pytest.mark.parametrize("text", ["\udcff", "a\ud800b", "a\x00b"], ids=ascii)
@pytest.mark.parametrize("command", ["status", "cancel", "requeue", "result", "wait"])
def test_an_id_that_cannot_be_is_not_found(gigq: Gigq, make_job: MakeJob, command: str, text: str) -> None:
    make_job()
    answer = gigq(command, text)
    assert (answer.code, answer.out) == (1, "")
    assert " not found." in answer.err


# -- list and stats ----------------------------------------------------------------------------------------------


def test_list_shows_whole_rows_newest_first(gigq: Gigq, make_job: MakeJob, on_file: JobQueue) -> None:
    ids = [make_job(name=f"job {n}", priority=n) for n in range(3)]
    lines = gigq("list").out.splitlines()
    assert lines[0].split() == ["ID", "Name", "Status", "Priority", "Created", "Updated"]
    for line, n in zip(lines[1:], (2, 1, 0), strict=True):
        job = on_file.get_status(ids[n])
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        assert cells == [
            ids[n],
            f"job {n}",
            "pending",
            str(n),
            _local(job["created_at"]),
            _local(job["updated_at"]),
        ]


def test_list_of_one_status(gigq: Gigq, make_job: MakeJob, work: Callable[[], None]) -> None:
    done = make_job()
    work()
    waiting = make_job()
    assert done in gigq("list", "--status", "completed").out
    assert waiting not in gigq("list", "--status", "completed").out
    assert gigq("list", "--status", "failed").out == "No jobs found.\n"


def test_an_unknown_status_is_a_usage_error_that_lists_the_valid_ones(gigq: Gigq) -> None:
    answer = gigq("list", "--status", "done")
    assert answer.code == 2
    assert all(status.value in answer.err for status in JobStatus)


def test_a_limit_cuts_the_list_and_says_so_on_stderr(gigq: Gigq, make_job: MakeJob) -> None:
    ids = [make_job() for _ in range(3)]
    answer = gigq("list", "--limit", "2")
    assert [job_id for job_id in ids if job_id in answer.out] == ids[1:]
    assert answer.err == "These are the newest 2; --limit shows more, --before @2 those after them.\n"
    assert gigq("list", "--limit", "3").err == ""
    assert gigq("list", "--limit", "0").out == "No jobs found.\n"
    assert gigq("list", "--limit", "-1").code == 2


def test_list_in_json_is_what_list_jobs_returns(gigq: Gigq, make_job: MakeJob, on_file: JobQueue) -> None:
    make_job("echo", params={"value": "ż"})
    make_job()
    assert json.loads(gigq("list", "--json").out) == on_file.list_jobs()


def test_stats_counts_every_status_in_the_order_of_the_enum(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None]
) -> None:
    make_job()
    make_job("fail", max_attempts=1)
    work()
    make_job()
    rows = [line.split() for line in gigq("stats").out.splitlines()]
    assert rows[0] == ["Status", "Count"]
    assert [row[0] for row in rows[1:]] == [*(status.value for status in JobStatus), "total"]
    counts = {
        "pending": 1,
        "running": 0,
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
        "timeout": 0,
        "total": 3,
    }
    assert {row[0]: int(row[1]) for row in rows[1:]} == counts
    assert json.loads(gigq("stats", "--json").out) == counts


# -- cancel and requeue ------------------------------------------------------------------------------------------


def test_a_pending_job_is_cancelled(gigq: Gigq, make_job: MakeJob, on_file: JobQueue) -> None:
    job_id = make_job()
    assert gigq("cancel", job_id) == (0, f"Job {job_id} cancelled.\n", "")
    assert on_file.get_status(job_id)["status"] == "cancelled"
    other = make_job()
    assert json.loads(gigq("cancel", other, "--json").out) == {"id": other, "cancelled": True}


def test_a_job_that_is_not_pending_cannot_be_cancelled(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None]
) -> None:
    job_id = make_job()
    work()
    answer = gigq("cancel", job_id)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"Could not cancel job {job_id}. It is completed")
    assert f"gigq status {job_id}" in answer.err


def test_a_running_job_is_stopped_only_when_asked(
    gigq: Gigq, db: str, tmp_path: Path, make_job: MakeJob, on_file: JobQueue
) -> None:
    job_id = make_job("wait_visibly", params={"path": str(tmp_path / "never")})
    with terminal.worker("--db", db, "--processes", "1") as worker:
        terminal.until((tmp_path / "never.waits").exists, "it runs")
        answer = gigq("cancel", job_id)
        assert (answer.code, answer.out) == (1, "")
        assert (
            answer.err
            == f"Could not cancel job {job_id}. It is running. Stop it: gigq cancel --running {job_id}\n"
        )
        assert gigq("cancel", "--running", job_id) == (0, f"Job {job_id} is asked to stop.\n", "")
        assert gigq("wait", job_id).code == 3
        assert terminal.end(worker).code == 0
    assert on_file.get_status(job_id)["status"] == "cancelled"
    answer = gigq("cancel", "--running", job_id)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(
        f"Could not cancel job {job_id}. It is cancelled, and only pending and running jobs can be cancelled. "
    )


def test_what_cancel_running_has_done_in_words_and_in_json(gigq: Gigq, db: str, make_job: MakeJob) -> None:
    running, pending = make_job(), make_job()
    worker = Worker(db)
    worker._claim_job()
    assert json.loads(gigq("cancel", "--running", running, "--json").out) == {
        "id": running,
        "cancelled": False,
        "asked_to_stop": True,
    }
    assert gigq("cancel", "--running", pending) == (0, f"Job {pending} cancelled.\n", "")
    assert gigq("cancel", "--running", "nope").code == 1
    worker.close()


@pytest.mark.parametrize("command", ["cancel", "requeue"])
def test_an_unknown_job_can_be_neither_cancelled_nor_requeued(gigq: Gigq, command: str) -> None:
    answer = gigq(command, "nope")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"Could not {command} job nope. Job nope not found. See which there are: gigq list\n"


def test_a_failed_job_is_requeued(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, work: Callable[[], None]
) -> None:
    job_id = make_job("fail", max_attempts=1)
    work()
    assert gigq("requeue", job_id) == (0, f"Job {job_id} requeued.\n", "")
    job = on_file.get_status(job_id)
    assert (job["status"], job["attempts"], job["error"]) == ("pending", 0, None)
    gigq("cancel", job_id)
    assert json.loads(gigq("requeue", job_id, "--json").out) == {"id": job_id, "requeued": True}


def test_a_requeue_that_is_refused_says_why(gigq: Gigq, make_job: MakeJob, work: Callable[[], None]) -> None:
    parent = make_job("fail", max_attempts=1)
    child = make_job(dependencies=[parent])
    work()
    answer = gigq("requeue", child)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(
        f"Could not requeue job {child}. Its parent {parent} ended badly; requeue that first."
    )
    pending = make_job()
    assert gigq("requeue", pending).err.startswith(f"Could not requeue job {pending}. It is pending.")


# -- clear -------------------------------------------------------------------------------------------------------


def test_clear_removes_completed_and_cancelled_jobs(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, work: Callable[[], None]
) -> None:
    make_job()
    failed = make_job("fail", max_attempts=1)
    work()
    gigq("cancel", make_job())
    pending = make_job()
    assert gigq("clear") == (0, "Cleared 2 completed jobs.\n", "")
    assert {job["id"] for job in on_file.list_jobs()} == {failed, pending}
    assert json.loads(gigq("clear", "--json").out) == {"cleared": 0}


def test_clear_before_days_keeps_what_ended_later(gigq: Gigq, db: str) -> None:
    three_days_ago = datetime.now(UTC) - timedelta(days=3)
    clock = TurnedClock(int(three_days_ago.timestamp() * 1e6))
    queue = JobQueue(db, clock=clock)
    queue.submit(Job("old", "jobs.nothing"))
    worker = Worker(queue)
    worker.process_one()
    worker.close()
    assert gigq("clear", "--before", "4").out == "Cleared 0 completed jobs.\n"
    assert gigq("clear", "--before", "2.5").out == "Cleared 1 completed jobs.\n"
    for bad in ("-1", "1e9", "soon"):
        assert gigq("clear", "--before", bad).code == 2
