"""gigq schedule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import terminal
from terminal import Gigq

from gigq import JobQueue

EVERY_DAY = ("--cron", "0 5 * * *", "--timezone", "Asia/Tokyo")


def test_add_says_what_it_did_and_when_the_next_ticks_are(gigq: Gigq, on_file: JobQueue) -> None:
    answer = gigq("schedule", "add", "nightly", "jobs.nothing", *EVERY_DAY)
    assert (answer.code, answer.err) == (0, "")
    first, *following = answer.out.splitlines()
    assert first == "Schedule nightly added."
    assert len(following) == 3
    assert all(line.startswith("  next: ") and line.endswith(" 05:00:00 Asia/Tokyo") for line in following)
    assert gigq("schedule", "add", "nightly", "jobs.nothing", *EVERY_DAY).out.startswith(
        "Schedule nightly is as it was.\n"
    )
    changed = gigq("schedule", "add", "nightly", "jobs.nothing", "--every", "1.5h")
    assert changed.out.startswith("Schedule nightly changed.\n")
    assert on_file.schedules()[0]["every"] == 5400


def test_add_takes_the_options_of_jobs(gigq: Gigq, on_file: JobQueue) -> None:
    words = [
        "--every",
        "15m",
        "-p",
        "a=1",
        "-p",
        "b=2",
        "--priority",
        "4",
        "--timeout",
        "none",
        "--retry-delay",
        "2",
    ]
    answer = gigq("schedule", "add", "sums", "jobs.add", *words, "--overlap", "allow", "--json")
    row = json.loads(answer.out)
    assert (row["name"], row["changed"], row["every"], row["params"]) == ("sums", True, 900, {"a": 1, "b": 2})
    job = on_file.get_status(on_file.run_schedule("sums"))
    assert (job["priority"], job["timeout"], job["retry_delay"]) == (4, None, 2)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["jobs.nothing", "--cron", "0 5 30 2 *"], 2, "Error: cron: '0 5 30 2 *': no such date ever comes\n"),
        (["jobs.nothing", *EVERY_DAY[:2], "--timezone", "Mars/X"], 2, "Error: timezone: 'Mars/X' is not in"),
        (["jobs.nothing"], 2, "Error: cron, every, at: exactly one of them is needed"),
        (["jobs.nothing", "--every", "soon"], 2, "is no interval such as 90, 90s, 15m, 2h or 1d."),
        (["jobs.nothing", "--every", "nan"], 2, "is no interval"),
        (["jobs.nothing", "--every", "5m", "--misfire", "never"], 2, "'never' is not one of"),
        (["jobs.nothing", "--at", "2020-01-01"], 2, "Error: at: schedule 'x' would have no tick from now on"),
        (["jobs.add", "--every", "5m"], 1, "Error: jobs.add cannot take these parameters"),
        (["no_such_module.run", "--every", "5m"], 1, "Error: Could not import no_such_module.run"),
    ],
)
def test_add_refuses_what_cannot_be(
    gigq: Gigq, on_file: JobQueue, words: list[str], code: int, told: str
) -> None:
    answer = gigq("schedule", "add", "x", *words)
    assert (answer.code, answer.out) == (code, "")
    assert told in answer.err
    assert on_file.schedules() == []


def test_list_shows_them_and_complains_of_errors(
    gigq: Gigq, on_file: JobQueue, work: Callable[[], None]
) -> None:
    assert gigq("schedule", "list").out == "No schedules found.\n"
    on_file.schedule("broken", "no_such_module.run", every=3600)
    on_file.schedule("daily", "jobs.nothing", cron="0 5 * * *", timezone="Asia/Tokyo")
    on_file.schedule("once", "jobs.nothing", at="2099-01-01T00:00Z")
    on_file.pause_schedule("once")
    on_file.run_schedule("broken")
    work()
    answer = gigq("schedule", "list")
    head, *rows = answer.out.splitlines()
    assert head.split() == ["Name", "When", "Next", "Last", "Job", "Task"]
    assert [row.split()[0] for row in rows] == ["broken", "daily", "once"]
    assert "every 1:00:00" in rows[0]
    assert "0 5 * * * Asia/Tokyo" in rows[1]
    assert rows[2].split()[1:3] == ["once", "paused"]
    assert answer.err.startswith("broken: ")
    assert [row["name"] for row in json.loads(gigq("schedule", "list", "--json").out)] == [
        "broken",
        "daily",
        "once",
    ]


def test_pause_resume_run_backfill_and_remove(gigq: Gigq, on_file: JobQueue) -> None:
    on_file.schedule("s", "jobs.nothing", cron="0 5 * * *")
    assert gigq("schedule", "pause", "s").out == "Schedule s paused.\n"
    assert gigq("schedule", "resume", "s").out == "Schedule s resumed.\n"
    job_id = gigq("schedule", "run", "s").out.removeprefix("Job submitted: ").strip()
    shown = gigq("status", job_id).out
    assert "\nSchedule: s, for 20" in shown
    assert gigq("schedule", "backfill", "s", "2025-01-01", "2025-01-08").out == "Added 7 jobs.\n"
    assert json.loads(gigq("schedule", "backfill", "s", "2025-01-01", "2025-01-09", "--json").out) == {
        "added": 1
    }
    assert json.loads(gigq("schedule", "run", "s", "--json").out)["id"]
    assert json.loads(gigq("schedule", "pause", "s", "--json").out) == {"name": "s", "paused": True}
    assert gigq("schedule", "remove", "s").out == "Schedule s removed.\n"
    assert on_file.schedules() == []


@pytest.mark.parametrize(
    "words",
    [["pause"], ["resume"], ["remove"], ["run"], ["backfill", "2025-01-01"]],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_name_that_is_not_there_is_refused(gigq: Gigq, db: str, words: list[str], there: bool) -> None:
    if there:
        JobQueue(db)
    answer = gigq("schedule", words[0], "x", *words[1:])
    assert (answer.code, answer.out) == (1, "")
    assert "there is none of that name" in answer.err
    assert answer.err.endswith("gigq schedule list\n")
    assert Path(db).exists() == there


_DECLARES = """
from gigq import task
@task(every=3600)
def hourly(): ...
@task
def plain(): ...
"""


def test_register_stores_what_tasks_declare(gigq: Gigq, on_file: JobQueue) -> None:
    Path("declares_some.py").write_text(_DECLARES)
    Path("declares_none.py").write_text("")
    words = ["schedule", "register", "declares_some", "declares_none"]
    assert gigq(*words).out == "Schedule declares_some.hourly stored.\n"
    assert gigq(*words).out == "Schedule declares_some.hourly is as it was.\n"
    assert json.loads(gigq(*words, "--json").out) == [{"name": "declares_some.hourly", "changed": False}]
    answer = gigq("schedule", "register", "declares_none")
    assert (answer.code, answer.out) == (0, "")
    assert "None of their tasks declares a schedule" in answer.err
    assert gigq("schedule", "register", "no_such_module").code == 1
    assert [row["name"] for row in on_file.schedules()] == ["declares_some.hourly"]


@pytest.mark.parametrize("how", [["--once"], []])
def test_a_worker_stores_the_schedules_of_what_it_imports(db: str, tmp_path: Path, how: list[str]) -> None:
    (tmp_path / "declares.py").write_text(_DECLARES)
    words = ["--db", db, "worker", "--import", "declares", *how]
    if how:
        assert terminal.gigq(*words, cwd=tmp_path).code == 0
    else:
        with terminal.worker(*words[:2], *words[3:], cwd=tmp_path) as worker:
            assert terminal.end(worker).code == 0
    assert [row["name"] for row in JobQueue(db).schedules()] == ["declares.hourly"]
