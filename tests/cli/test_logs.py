"""gigq logs, and how far a job is in gigq status."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import terminal
from terminal import Gigq, MakeJob

from gigq import Job, JobQueue, admin
from gigq.store.notes import NoteRow

FIRST = "-- run 1, "


def _number(queue: JobQueue, job_id: str) -> int:
    with queue._store._reading() as tx:
        found = tx.row("find", id=job_id)
    assert found is not None
    number: int = found[0]
    return number


def _say(queue: JobQueue, job_id: str, *parts: tuple[int, int, str]) -> None:
    """Output that is there as if runs had said it: run, part, text."""
    seq = _number(queue, job_id)
    said = [NoteRow(seq, run, 1_800_000_000_000_000, part, text, 0, None) for run, part, text in parts]
    queue._store.exchange([], None, queue.clock.now(), said=said)


def test_what_was_printed_and_logged_is_data_and_the_heading_is_talk(
    gigq: Gigq, on_file: JobQueue, work: Callable[[], None]
) -> None:
    job_id = on_file.submit(Job("talks", "talking.talk"))
    Path("talking.py").write_text(
        "import logging\nimport gigq\n"
        "def talk():\n    print('printed')\n    logging.getLogger('x').warning('logged')\n"
        "    gigq.current_job().log('told')\n    print('the end', end='')\n"
    )
    assert gigq("worker", "--once").code == 0
    answer = gigq("logs", job_id)
    assert (answer.code, answer.out) == (0, "printed\nWARNING x: logged\ntold\nthe end\n")
    assert answer.err.startswith(FIRST)
    assert len(answer.err.splitlines()) == 1
    assert gigq("logs", job_id, "--follow").out == answer.out


def test_each_run_begins_a_line_and_one_can_be_chosen(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, work: Callable[[], None]
) -> None:
    job_id = make_job("fail", max_attempts=2)
    work()
    _say(on_file, job_id, (1, 0, "the first"), (1, 2, " run"), (2, 0, "the second\n"))
    answer = gigq("logs", job_id)
    assert answer.out == "the first run\nthe second\n"
    assert [line.split(",")[0] for line in answer.err.splitlines()] == ["-- run 1", "-- run 2"]
    assert gigq("logs", job_id, "--run", "1").out == "the first run\n"
    assert gigq("logs", job_id, "--run", "2").out == "the second\n"
    answer = gigq("logs", job_id, "--run", "3")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"Job {job_id} has had 2 runs, and is failed. See them: gigq status ")
    assert gigq("logs", job_id, "--run", "0").code == 2


def test_in_json_each_piece_is_an_object_on_a_line(gigq: Gigq, make_job: MakeJob, on_file: JobQueue) -> None:
    job_id = make_job()
    _say(on_file, job_id, (1, 0, "a\x1b[31m\n"), (1, 1, "ż"), (2, 0, "b\u2028"))
    answer = gigq("logs", job_id, "--json")
    lines = answer.out.split("\n")
    assert (len(lines), lines[-1], answer.err) == (4, "", "")
    at = "2027-01-15T08:00:00+00:00"
    found = [json.loads(line) for line in lines[:-1]]
    assert [one["at"][:19] for one in found] == [at[:19]] * 3
    assert [(one["run"], one["part"], one["text"]) for one in found] == [
        (1, 0, "a\x1b[31m\n"),
        (1, 1, "ż"),
        (2, 0, "b\u2028"),
    ]


def test_what_would_harm_a_terminal_is_taken_out_and_progress_bars_become_lines(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue
) -> None:
    job_id = make_job()
    parts = ["\x1b[2J\u202ered\r\n", "10 %\r20 %\r", "30 %\r", "\nover\r"]
    _say(on_file, job_id, *((1, n, text) for n, text in enumerate(parts)))
    assert gigq("logs", job_id).out == "[2Jred\n10 %\n20 %\n30 %\nover\n"


def test_a_job_that_has_said_nothing(gigq: Gigq, make_job: MakeJob, work: Callable[[], None]) -> None:
    job_id = make_job()
    answer = gigq("logs", job_id)
    assert answer == (0, "", f"Job {job_id} is pending; nothing was printed or logged.\n")
    work()
    assert gigq("logs", job_id, "-f").err == f"Job {job_id} is completed; nothing was printed or logged.\n"


def test_following_gives_the_exit_code_of_waiting(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, work: Callable[[], None]
) -> None:
    failed = make_job("fail", params={"message": "the reason"}, max_attempts=1)
    work()
    _say(on_file, failed, (1, 0, "said\n"))
    answer = gigq("logs", "-f", failed)
    assert (answer.code, answer.out) == (3, "said\n")
    assert f"Job {failed} failed: ValueError: the reason\n" in answer.err
    assert gigq("logs", failed).code == 0


def test_following_prints_while_it_runs_and_across_retries(
    db: str, tmp_path: Path, make_job: MakeJob
) -> None:
    (tmp_path / "project.py").write_text(
        "import gigq, jobs\n"
        "def talk(folder):\n"
        "    run = gigq.current_job().run\n"
        "    print(f'begun {run}')\n"
        "    jobs.wait_for(f'{folder}/{run}')\n"
        "    if run == 1:\n        raise ValueError('not yet')\n"
    )
    said = terminal.gigq("--db", db, "submit", "project.talk", "-p", f"folder={tmp_path}", cwd=tmp_path)
    job_id = said.out.split()[-1]
    with (
        terminal.started("--db", db, "logs", job_id, "--follow") as follows,
        terminal.started("--db", db, "logs", job_id, "-f", "--run", "1") as follows_first,
        terminal.worker("--db", db, "--processes", "1", cwd=tmp_path) as worker,
    ):
        assert follows.stdout is not None
        assert follows.stdout.readline() == "begun 1\n"
        (tmp_path / "1").touch()
        assert follows.stdout.readline() == "begun 2\n"
        assert follows_first.communicate(timeout=terminal.LIMIT)[0] == "begun 1\n"
        assert follows_first.returncode == 0
        assert follows.poll() is None
        (tmp_path / "2").touch()
        follows.communicate(timeout=terminal.LIMIT)
        assert follows.returncode == 0
        terminal.end(worker)


def test_the_bell_alone_wakes_who_follows(
    db: str, on_file: JobQueue, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_NET", 3600.0)
    job_id = make_job()
    heard: list[str] = []
    told = threading.Event()
    follows = threading.Event()

    def follow() -> None:
        for part in admin.output(JobQueue(db), job_id, None, follows.set):
            heard.append(part.text)
            told.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert follows.wait(terminal.LIMIT)
    _say(on_file, job_id, (1, 0, "while it waits"))
    assert told.wait(terminal.LIMIT)
    on_file.cancel(job_id)
    thread.join(terminal.LIMIT)
    assert heard == ["while it waits"]
    assert not thread.is_alive()


def test_more_than_one_reading_gives_is_read(on_file: JobQueue, make_job: MakeJob) -> None:
    job_id = make_job()
    _say(on_file, job_id, *((1, n, f"{n}\n") for n in range(2500)))
    assert [part.part for part in admin.output(on_file, job_id)] == list(range(2500))


def test_a_job_that_is_cleared_meanwhile_is_not_found(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = make_job()
    monkeypatch.setattr(type(on_file._store), "result", lambda *_: None)
    monkeypatch.setattr(type(on_file._store), "record", lambda *_: None)
    answer = gigq("logs", "-f", job_id)
    assert answer == (1, "", f"Job {job_id} not found. See which there are: gigq list\n")


def test_interrupting_who_follows_gives_130(db: str, make_job: MakeJob) -> None:
    with terminal.started("--db", db, "logs", "-f", make_job()) as follows:
        assert follows.stderr is not None
        assert follows.stderr.readline().startswith("No worker is running")
        answer = terminal.end(follows, signal.SIGINT)
    assert (answer.code, answer.err.strip()) == (130, "")


# -- progress ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ((3, 10, "fetching"), "3 / 10 (30 %) fetching"),
        ((1_234_567, None, None), "1234567"),
        ((0.25, 1, None), "0.25 / 1 (25 %)"),
        ((5, 0, "a\nb"), "5 / 0 a\\nb"),
    ],
)
def test_status_shows_how_far_a_job_is(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, told: tuple[float, float | None, str | None], shown: str
) -> None:
    job_id = make_job()
    seq = _number(on_file, job_id)
    now = on_file.clock.now()
    on_file._store.exchange([], None, now, said=[NoteRow(seq, 1, now, 0, "", 0, told)])
    assert gigq("status", job_id).out.splitlines()[-1] == f"Progress: {shown}"
