"""gigq queue; the queues and times of gigq submit, worker and status."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from terminal import Gigq, MakeJob

from gigq import JobQueue
from gigq.clock import SECOND, from_iso


@pytest.fixture(autouse=True)
def _project(gigq: Gigq) -> None:
    Path("project_of_queues.py").write_text("def f(): ...\n")


def submitted(gigq: Gigq, on_file: JobQueue, *words: str) -> dict[str, Any]:
    answer = gigq("submit", "project_of_queues.f", *words)
    assert answer.code == 0, answer.err
    return on_file.get_status(answer.out.split()[-1])


# -- gigq queue ----------------------------------------------------------------------------------------------------


def test_a_queue_is_paused_and_resumed(gigq: Gigq, on_file: JobQueue, make_job: MakeJob) -> None:
    make_job(queue="mail")
    assert gigq("queue", "pause", "mail", "--reason", "spam wave") == (0, "Queue mail paused.\n", "")
    assert gigq("queue", "pause", "mail") == (0, "Queue mail was paused already.\n", "")
    assert gigq("worker", "--once").out == "No jobs available to process.\n"
    lines = gigq("queue", "list").out.splitlines()
    assert lines[0].split() == ["Queue", "State", "Pending", "Running", "Limit", "Ageing", "Total"]
    assert "paused since" in lines[1]
    assert "(spam wave)" in lines[1]
    assert gigq("queue", "resume", "mail").out == "Queue mail resumed.\n"
    assert gigq("queue", "resume", "mail").out == "Queue mail was not paused.\n"
    assert gigq("worker", "--once").out == "Processed one job.\n"


def test_a_queue_gets_limits(gigq: Gigq, on_file: JobQueue) -> None:
    assert gigq("queue", "limit", "mail", "3").out == "Queue mail runs 3 at once.\n"
    assert gigq("queue", "age", "mail", "90").out == "Priorities in queue mail rise by one every 90 s.\n"
    [row] = on_file.queues()
    assert (row["concurrency"], row["ageing"]) == (3, 90)
    assert gigq("queue", "list").out.splitlines()[1].split() == [
        "mail",
        "open",
        "0",
        "0",
        "3",
        "90",
        "s",
        "0",
    ]
    assert gigq("queue", "limit", "mail", "none").out == "Queue mail has no limit.\n"
    assert gigq("queue", "age", "mail", "none").out == "Priorities in queue mail stay as they are.\n"
    assert gigq("queue", "list") == (0, "No queues found.\n", "")


def test_all_of_it_in_json(gigq: Gigq, on_file: JobQueue, make_job: MakeJob) -> None:
    make_job()

    def said(*words: str) -> Any:
        return json.loads(gigq("queue", *words, "--json").out)

    assert said("pause", "mail") == {"queue": "mail", "paused": True, "changed": True}
    assert said("resume", "mail") == {"queue": "mail", "paused": False, "changed": True}
    assert said("limit", "mail", "2") == {"queue": "mail", "concurrency": 2}
    assert said("age", "mail", "none") == {"queue": "mail", "ageing": None}
    assert said("list") == on_file.queues()
    assert [row["name"] for row in said("list")] == ["default", "mail"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pause", "*"), "name: '*' is no queue"),
        (("limit", "mail", "0"), "concurrency: "),
        (("limit", "mail", "many"), "'many' is neither a whole number nor 'none'"),
        (("age", "mail", "0"), "every: "),
        (("age", "mail", "soon"), "'soon' is neither seconds nor 'none'"),
        (("limit", "mail"), "Missing argument"),
    ],
)
def test_what_cannot_be_is_a_usage_error(
    gigq: Gigq, on_file: JobQueue, words: tuple[str, ...], said: str
) -> None:
    answer = gigq("queue", *words)
    assert answer.code == 2
    assert said in answer.err
    assert on_file.queues() == []


@pytest.mark.parametrize(
    "words", [("pause", "mail"), ("resume", "mail"), ("limit", "mail", "1"), ("age", "mail", "1")]
)
def test_a_mistyped_file_is_not_made(gigq: Gigq, db: str, words: tuple[str, ...]) -> None:
    assert gigq("queue", *words).code == 5
    assert gigq("queue", "list").out == "No queues found.\n"
    assert not Path(db).exists()


# -- gigq worker, submit, status -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["mail,other", "mail, other", "mail=2,other=0.5"])
def test_a_worker_serves_the_queues_it_is_told(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, given: str
) -> None:
    make_job()
    job = make_job(queue="mail")
    assert gigq("worker", "--once", "--queues", given).out == "Processed one job.\n"
    assert on_file.get_status(job)["status"] == "completed"
    assert gigq("worker", "--once", "--queues", given).out == "No jobs available to process.\n"
    assert (
        gigq("worker", "--once", "--queues", f"{given},*" if "=" not in given else "*=1").out
        == "Processed one job.\n"
    )


@pytest.mark.parametrize("given", ["mail=3,other", "mail=x", "mail=0", "", "mail,,x", "a,a", "a=1,a=2"])
def test_queues_that_no_worker_can_serve_are_a_usage_error(gigq: Gigq, db: str, given: str) -> None:
    answer = gigq("worker", "--once", "--queues", given)
    assert answer.code == 2
    assert "queues" in answer.err
    assert not Path(db).exists()


def test_a_job_is_submitted_with_its_queue_and_its_times(gigq: Gigq, on_file: JobQueue) -> None:
    status = submitted(
        gigq,
        on_file,
        "--queue",
        "mail",
        "--run-at",
        "2031-12-24T18:00:00Z",
        "--expires",
        "2031-12-24T20:00:00Z",
    )
    assert status["queue"] == "mail"
    assert status["run_at"] == datetime(2031, 12, 24, 18, tzinfo=UTC).isoformat(timespec="microseconds")
    assert status["expires_at"] == datetime(2031, 12, 24, 20, tzinfo=UTC).isoformat(timespec="microseconds")
    shown = gigq("status", status["id"]).out.splitlines()
    assert "Queue: mail" in shown
    assert [line.split(":")[0] for line in shown[-2:]] == ["Not before", "Expires"]

    status = submitted(gigq, on_file, "--delay", "1.5", "--deadline", "60")
    updated = from_iso(status["updated_at"])
    assert from_iso(status["run_at"]) - updated == 1.5 * SECOND
    assert from_iso(status["deadline_at"]) - updated == 60 * SECOND
    assert "Queue:" not in gigq("status", status["id"]).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--run-at", "2026-02-30"), "run_at: "),
        (("--expires", "soon"), "expires: "),
        (("--deadline", "0"), "deadline: "),
        (("--delay", "2", "--expires", "1"), "so it could never start"),
        (("--delay", "2", "--run-at", "2031-01-01"), "delay: cannot be beside run_at"),
        (("--queue", "*"), "queue: "),
        (("--delay", "-1"), "--delay"),
    ],
)
def test_a_job_that_cannot_be_is_refused_and_nothing_made(
    gigq: Gigq, db: str, words: tuple[str, ...], said: str
) -> None:
    answer = gigq("submit", "project_of_queues.f", *words)
    assert answer.code == 2
    assert said in answer.err
    assert not Path(db).exists()
