"""How it looks: colours, widths, pipes, and text that would harm a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from datetime import datetime

import pytest
import terminal
from terminal import Gigq, MakeJob

from gigq import Job, JobQueue

HOSTILE = "evil\x1b[2J\x1b]0;title\x07\x08\r\x9b31m\u202e\u2028\x7f name\nStatus: completed\tx"
TAMED = "evil[2J]0;title31m name\\nStatus: completed\\tx"
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def _harmless(text: str) -> bool:
    return not any(unicodedata.category(sign) in ("Cc", "Cf", "Zl") for sign in text if sign not in "\n\t")


def test_hostile_text_is_tamed_wherever_it_is_shown(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None]
) -> None:
    failed = make_job("fail", name=HOSTILE, params={"message": HOSTILE}, max_attempts=1)
    done = make_job("echo", name=HOSTILE, params={"value": {HOSTILE: HOSTILE}}, description=HOSTILE)
    text = make_job("echo", params={"value": HOSTILE})
    work()
    answers = [
        gigq("list"),
        gigq("status", failed, "--show-params", "--show-executions"),
        gigq("status", done, "--show-params", "--show-result", "--show-executions"),
        gigq("status", text, "--show-result"),
        gigq("result", done),
        gigq("result", failed),
        gigq("wait", failed),
        gigq("worker", "--once", "--worker-id", HOSTILE),
    ]
    for answer in answers:
        assert _harmless(answer.out), answer.out
    for answer in answers:
        assert _harmless(answer.err), answer.err
    assert TAMED in answers[0].out
    assert answers[1].out.splitlines()[0] == f"Job: {TAMED} ({failed})"
    assert f"  {TAMED}: {TAMED}" in answers[2].out.splitlines()
    assert gigq("result", text).out == "evil[2J]0;title31m name\nStatus: completed\tx\n"


def test_the_workers_log_is_tamed_too(gigq: Gigq, make_job: MakeJob, on_file: JobQueue) -> None:
    make_job("fail", name=HOSTILE, params={"message": HOSTILE}, max_attempts=1)
    on_file.submit(Job(HOSTILE, "no_such_module.f"))
    for told in ("Job failed: ", "which this worker cannot import"):
        answer = gigq("worker", "--once")
        assert told in answer.err
        assert _harmless(answer.err), answer.err


def test_a_name_cannot_forge_a_line(gigq: Gigq, make_job: MakeJob) -> None:
    job_id = make_job(name="x\nStatus: completed")
    statuses = [line for line in gigq("status", job_id).out.splitlines() if line.startswith("Status:")]
    assert statuses == ["Status: pending"]


@pytest.mark.parametrize("name", ["[red]x[/red]", "[bold", ":smile:", "{x}", "%s", "\\"])
def test_names_are_not_markup(gigq: Gigq, make_job: MakeJob, name: str) -> None:
    job_id = make_job(name=name)
    assert f"  {name}  " in gigq("list").out
    assert gigq("status", job_id).out.startswith(f"Job: {name} (")


def test_nothing_is_cut_or_folded_in_a_pipe(gigq: Gigq, make_job: MakeJob) -> None:
    name = "a long name " * 500
    job_id = make_job(name=name)
    assert len(gigq("list").out.splitlines()) == 2
    assert name.strip() in gigq("list").out
    assert job_id in gigq("list").out
    assert gigq("status", job_id).out.splitlines()[0] == f"Job: {name} ({job_id})"


def test_lines_in_a_pipe_do_not_end_in_blanks(gigq: Gigq, make_job: MakeJob) -> None:
    make_job()
    assert not re.search(r" +$", gigq("list").out + gigq("stats").out, re.MULTILINE)


def test_a_terminal_gets_colours_and_whole_lines(db: str, make_job: MakeJob) -> None:
    job_id = make_job(name="report")
    answer = terminal.in_terminal(200, "--db", db, "list")
    assert answer.code == 0
    assert "\x1b[33mpending" in answer.out
    head, row = (_ESCAPES.sub("", line).split() for line in answer.out.splitlines())
    assert head == ["ID", "Name", "Status", "Priority", "Created", "Updated"]
    assert row[:4] == [job_id, "report", "pending", "0"]


def test_a_terminal_of_80_columns_takes_two_lines_and_still_shows_everything(
    db: str, make_job: MakeJob, on_file: JobQueue
) -> None:
    job_id = make_job(name="a name of many words that takes more than one line in itself")
    lines = _ESCAPES.sub("", terminal.in_terminal(80, "--db", db, "list").out).splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert lines[2].startswith(f"{job_id}  pending         0  ")
    times = [
        datetime.fromisoformat(on_file.get_status(job_id)[field]) for field in ("created_at", "updated_at")
    ]
    created, updated = (time.astimezone().strftime("%Y-%m-%d %H:%M:%S") for time in times)
    assert lines[2].rstrip().endswith(created)
    assert lines[3].rstrip().endswith(updated)
    words = " ".join(line[:36].strip() for line in lines[3:])
    assert words.startswith("a name of many words that takes more than one line in itself")


def test_a_narrow_terminal_never_breaks_an_id(db: str, make_job: MakeJob) -> None:
    job_id = make_job()
    assert job_id in terminal.in_terminal(40, "--db", db, "list").out


def test_no_color_means_no_escapes_at_all(db: str, make_job: MakeJob) -> None:
    job_id = make_job()
    for words in (["list"], ["status", job_id], ["stats"], ["doctor"], ["db", "info"]):
        assert "\x1b" not in terminal.in_terminal(120, "--db", db, *words, env={"NO_COLOR": "1"}).out
    assert "\x1b" in terminal.in_terminal(120, "--db", db, "list", env={"NO_COLOR": ""}).out


def test_a_pipe_gets_no_escapes(db: str, make_job: MakeJob) -> None:
    job_id = make_job()
    for words in (["list"], ["status", job_id], ["stats"], ["doctor"], ["--help"]):
        assert "\x1b" not in terminal.gigq("--db", db, *words).out


def test_a_person_is_told_that_nobody_works(db: str) -> None:
    out = terminal.in_terminal(120, "submit", "jobs.nothing", "--db", db).out.splitlines()
    assert out[0].startswith("Job submitted: ")
    assert out[1] == f"No worker is running. Start one: gigq --db {db} worker"


def test_a_terminal_that_knows_only_ascii_gets_the_rest_spelled_out(db: str, make_job: MakeJob) -> None:
    job_id = make_job("echo", name="żółw", params={"value": "żółw"})
    env = {"PYTHONIOENCODING": "ascii"}
    assert "\\u017c\\xf3\\u0142w" in terminal.gigq("--db", db, "list", env=env).out
    assert terminal.gigq("--db", db, "status", job_id, "--show-params", env=env).code == 0
    assert '"name": "\\u017c\\u00f3\\u0142w"' in terminal.gigq("--db", db, "--json", "list", env=env).out


def test_a_reader_that_has_seen_enough_is_no_error(db: str, make_job: MakeJob) -> None:
    make_job(name="x" * 200_000)
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gigq", "--db", db, "list"],
            stdout=write,
            stderr=subprocess.PIPE,
            env=terminal.environment(),
            timeout=terminal.LIMIT,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
