"""gigq worker: mostly as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import jobs
import pytest
import terminal
from terminal import Gigq, MakeJob

from gigq import Job, JobQueue, TooManyAbandoned, Worker
from gigq.cli import worker as command
from gigq.cli.sizes import Size
from gigq.worker.signals import stop_on_signals


def _is(queue: JobQueue, job_id: str, status: str) -> Callable[[], bool]:
    return lambda: bool(queue.get_status(job_id)["status"] == status)


def _runs(queue: JobQueue, count: int = 1) -> Callable[[], bool]:
    """Whether so many functions have been started: they have left their marks."""

    def started() -> bool:
        sidecar = queue._store.engine.sidecar
        return sum(len(sidecar.read_marks(row.area)) for row in queue._store.workers()) == count

    return started


# -- --once, in this process -------------------------------------------------------------------------------------


def test_once_runs_one_job_and_says_so(gigq: Gigq, make_job: MakeJob, on_file: JobQueue) -> None:
    first, second = make_job(), make_job()
    answer = gigq("worker", "--once")
    assert (answer.code, answer.out) == (0, "Processed one job.\n")
    assert on_file.get_status(first)["status"] == "completed"
    assert on_file.get_status(second)["status"] == "pending"


def test_once_without_a_job_is_no_error(gigq: Gigq, db: str) -> None:
    answer = gigq("worker", "--once")
    assert (answer.code, answer.out) == (0, "No jobs available to process.\n")
    assert Path(db).exists()


def test_a_job_that_fails_was_processed_too(gigq: Gigq, make_job: MakeJob) -> None:
    make_job("fail", max_attempts=1)
    answer = gigq("worker", "--once")
    assert (answer.code, answer.out) == (0, "Processed one job.\n")
    assert "ERROR - Job failed" in answer.err


def test_the_workers_name_and_its_interval_come_from_option_or_environment(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIGQ_WORKER_ID", "from-environment")
    monkeypatch.setenv("GIGQ_POLLING_INTERVAL", "0.5")
    for words, name in (([], "from-environment"), (["--worker-id", "from-option"], "from-option")):
        job_id = make_job()
        assert gigq("worker", "--once", *words).code == 0
        assert on_file.get_status(job_id)["executions"][0]["worker_id"] == name
    monkeypatch.setenv("GIGQ_POLLING_INTERVAL", "soon")
    answer = gigq("worker", "--once")
    assert answer.code == 2
    assert "--polling-interval" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ["--concurrency", "0"],
        ["--polling-interval", "0"],
        ["--polling-interval", "-1"],
        ["--grace", "-1"],
        ["--max-result", "0"],
        ["--max-result", "500000001"],
        ["--durability", "some"],
        ["--nonsense"],
        ["--executor", "fibre"],
        ["--processes", "0"],
        ["--processes", "2", "--concurrency", "2"],
        ["--processes", "2", "--executor", "thread"],
        ["--async-slots", "0"],
        ["--kill-grace", "-1"],
        ["--max-jobs-per-child", "0"],
        ["--max-memory", "512M"],
        ["--max-memory", "1kB"],
        ["--max-memory", "512MB", "--executor", "thread"],
        ["--max-jobs-per-child", "5", "--executor", "thread"],
        ["--max-abandoned", "-1", "--executor", "thread"],
        ["--max-abandoned", "3", "--executor", "process"],
    ],
    ids=" ".join,
)
def test_bad_options_are_usage_errors_and_nothing_is_written(gigq: Gigq, db: str, words: list[str]) -> None:
    assert gigq("worker", "--once", *words).code == 2
    assert not Path(db).exists()


def test_results_may_be_as_large_as_the_option_says(gigq: Gigq, on_file: JobQueue) -> None:
    job_id = on_file.submit(Job("one", jobs.echo, {"value": "x" * 99}))
    assert gigq("worker", "--once", "--max-result", "100").code == 0
    assert "limit of 100" in on_file.get_status(job_id)["error"]


def test_modules_are_imported_before_the_start(gigq: Gigq, db: str) -> None:
    Path("first_of_two.py").write_text("import pathlib; pathlib.Path('imported').write_text('1')")
    Path("second_of_two.py").write_text("import pathlib; assert pathlib.Path('imported').exists()")
    assert gigq("worker", "--once", "--import", "first_of_two", "--import", "second_of_two").code == 0
    assert Path("imported").exists()


def test_a_module_that_cannot_be_imported_is_refused(gigq: Gigq, db: str) -> None:
    answer = gigq("worker", "--once", "--import", "no_such_module_here")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("Error: Could not import no_such_module_here\n")
    assert not Path(db).exists()


# -- what runs the jobs -----------------------------------------------------------------------------------------


class _Made(Exception):
    pass


@pytest.fixture
def made_with(gigq: Gigq, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What the command makes its worker with."""

    def made(*words: str) -> dict[str, Any]:
        asked: dict[str, Any] = {}

        def init(_self: Worker, _path: str, **options: Any) -> None:
            asked.update(options)
            raise _Made

        monkeypatch.setattr(Worker, "__init__", init)
        with pytest.raises(_Made):
            gigq("worker", *words)
        return asked

    return made


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("words", "executor", "concurrency"),
    [
        ([], "process", CORES),
        (["--executor", "process"], "process", CORES),
        (["--processes", "3"], "process", 3),
        (["--executor", "process", "--processes", "3"], "process", 3),
        (["--concurrency", "4"], "process", 4),
        (["--executor", "thread"], "thread", 1),
        (["--executor", "thread", "--concurrency", "4"], "thread", 4),
    ],
)
def test_what_runs_the_jobs_and_how_many_at_once(
    made_with: Callable[..., dict[str, Any]], words: list[str], executor: str, concurrency: int
) -> None:
    asked = made_with(*words)
    assert (asked["executor"], asked["concurrency"]) == (executor, concurrency)


def test_without_child_processes_threads_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gigq.cli.worker.os.name", "nt")
    assert command._hands(None, None, None) == ("thread", 1)
    assert command._hands(None, None, 3) == ("thread", 3)


def test_the_options_of_children_reach_the_worker(made_with: Callable[..., dict[str, Any]]) -> None:
    asked = made_with(
        *("--async-slots", "7", "--kill-grace", "0.5", "--max-jobs-per-child", "9", "--max-memory", "1.5GiB"),
        *("--import", "not_here", "--import", "nor_there"),
    )
    assert asked["imports"] == ("not_here", "nor_there")
    assert (asked["async_slots"], asked["kill_grace"]) == (7, 0.5)
    assert (asked["max_jobs_per_child"], asked["max_memory"]) == (9, 1_610_612_736)


@pytest.mark.parametrize(
    ("word", "executor", "other"),
    [
        ("--async-slots", "process", "thread"),
        ("--kill-grace", "process", "thread"),
        ("--max-abandoned", "thread", "process"),
    ],
)
def test_an_option_of_the_other_executor_is_refused_and_the_right_one_named(
    gigq: Gigq, made_with: Callable[..., dict[str, Any]], word: str, executor: str, other: str
) -> None:
    answer = gigq("worker", word, "3", "--executor", other)
    assert answer.code == 2
    assert f"{word} is about " in answer.err
    assert f"it goes with --executor {executor}, and not with --executor {other}" in answer.err
    assert made_with(word, "3", "--executor", executor)[word[2:].replace("-", "_")] == 3


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1000", 1000),
        ("1000B", 1000),
        ("512MB", 512_000_000),
        ("512mb", 512_000_000),
        ("2GB", 2_000_000_000),
        ("2 GB", 2_000_000_000),
        ("1.5GiB", 1_610_612_736),
        (".5kiB", 512),
        ("1TiB", 2**40),
    ],
)
def test_a_size_is_read_as_it_is_written(written: str, number: int) -> None:
    assert Size(0).convert(written, None, None) == number


@pytest.mark.parametrize("written", ["", "MB", "-1", "512M", "1GiB2", "1e9", "٣MB", "1,5GB", "lots"])
def test_what_is_no_size_is_refused_with_examples(written: str) -> None:
    with pytest.raises(click.BadParameter, match=r"512MB, 2GB, 1\.5GiB"):
        Size(0).convert(written, None, None)


def test_jobs_run_in_children_that_have_imported_what_was_asked(tmp_path: Path) -> None:
    (tmp_path / "warm.py").write_text("import os\nopen(f'warm.{os.getpid()}', 'x').close()\n")
    (tmp_path / "project.py").write_text(
        "import os, sys\ndef where():\n    return [os.getpid(), 'warm' in sys.modules]\n"
    )
    with terminal.worker("--processes", "1", "--import", "warm", cwd=tmp_path) as worker:
        said = terminal.gigq("submit", "project.where", cwd=tmp_path)
        result = terminal.gigq("result", said.out.split()[-1], "--wait", "--json", cwd=tmp_path)
        pid, is_warm = json.loads(result.out)
        assert terminal.end(worker).code == 0
    assert is_warm
    assert pid != worker.pid
    imported = {int(path.suffix[1:]) for path in tmp_path.glob("warm.*") if path.suffix != ".py"}
    assert pid in imported
    assert worker.pid not in imported
    assert len(imported) == 2, "and once in a process that looks for schedules"


def test_with_threads_jobs_run_in_the_workers_own_process(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text("import os\ndef where():\n    return os.getpid()\n")
    with terminal.worker("--executor", "thread", "--import", "project", cwd=tmp_path) as worker:
        said = terminal.gigq("submit", "project.where", cwd=tmp_path)
        result = terminal.gigq("result", said.out.split()[-1], "--wait", cwd=tmp_path)
        assert int(result.out) == worker.pid
        assert terminal.end(worker).code == 0


def test_a_module_that_no_child_can_import_ends_the_worker_with_the_reason(
    db: str, make_job: MakeJob, on_file: JobQueue
) -> None:
    job_id = make_job()
    with terminal.worker("--db", db, "--import", "no_such_module_here") as worker:
        _, err = worker.communicate(timeout=terminal.LIMIT)
    assert worker.returncode == 1
    assert "cannot import no_such_module_here: ModuleNotFoundError" in err
    assert "Traceback" not in err
    assert terminal.gigq("--db", db, "worker", "--once").code == 0  # which rescues it first
    job = on_file.get_status(job_id)
    assert (job["status"], job["attempts"], len(job["executions"])) == ("completed", 1, 1)


# -- two processes -----------------------------------------------------------------------------------------------


def test_a_worker_here_does_what_is_submitted_there(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text("def double(n):\n    return {'doubled': 2 * n}\n")
    with terminal.worker(cwd=tmp_path) as worker:
        said = terminal.gigq("submit", "project.double", "-p", "n=21", cwd=tmp_path)
        assert said.code == 0, said
        job_id = said.out.split()[-1]
        assert terminal.gigq("wait", job_id, "--timeout", "50", cwd=tmp_path).code == 0
        assert terminal.gigq("result", job_id, cwd=tmp_path).out == '{\n  "doubled": 42\n}\n'
        answer = terminal.end(worker)
    assert answer.code == 0
    assert f"INFO - Job completed: {job_id} (double)" in answer.err


def test_the_working_directory_goes_first(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "same_name.py").write_text("def where():\n    return 'elsewhere'\n")
    (tmp_path / "same_name.py").write_text("def where():\n    return 'here'\n")
    program = [str(Path(sys.executable).with_name("gigq"))]
    env = {"PYTHONPATH": str(elsewhere)}
    submitted = terminal.gigq("submit", "same_name.where", cwd=tmp_path, env=env, program=program)
    assert submitted.code == 0, submitted
    assert terminal.gigq("worker", "--once", cwd=tmp_path, env=env, program=program).code == 0
    assert terminal.gigq("result", submitted.out.split()[-1], cwd=tmp_path, program=program).out == "here\n"


def test_files_of_the_project_do_not_stand_in_for_what_gigq_needs(tmp_path: Path) -> None:
    for name in ("queue", "msgspec", "uuid_utils", "sqlite3", "socket"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong one')\n")
    (tmp_path / "project.py").write_text("def nothing(): ...\n")
    program = [str(Path(sys.executable).with_name("gigq"))]
    for words in (["submit", "project.nothing"], ["worker", "--once"], ["list"], ["doctor"]):
        answer = terminal.gigq(*words, cwd=tmp_path, program=program)
        assert answer.code == 0, answer


# -- signals, and what the exit code says -----------------------------------------------------------------------------------------------------


EITHER = pytest.mark.parametrize(
    "executor", [["--executor", "process"], ["--executor", "thread"]], ids=lambda words: words[1]
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_ends_well_at_a_signal(db: str, number: int) -> None:
    with terminal.worker("--db", db, "--worker-id", "idle") as worker:
        answer = terminal.end(worker, number)
    assert answer.code == 0
    assert "Traceback" not in answer.err
    assert JobQueue(db)._store.workers() == []


@EITHER
def test_a_running_job_may_finish_within_the_grace(
    db: str, tmp_path: Path, make_job: MakeJob, on_file: JobQueue, executor: list[str]
) -> None:
    until = tmp_path / "until"
    job_id = make_job("wait_for", params={"path": str(until)})
    with terminal.worker("--db", db, *executor) as worker:
        terminal.until(_runs(on_file), "the job runs")
        worker.send_signal(signal.SIGTERM)
        assert worker.stderr is not None
        while "stopping" not in worker.stderr.readline():
            pass
        until.touch()
        worker.communicate(timeout=terminal.LIMIT)
    assert worker.returncode == 0
    assert on_file.get_status(job_id)["status"] == "completed"


@EITHER
def test_the_end_of_the_grace_gives_a_running_job_back(
    db: str, make_job: MakeJob, on_file: JobQueue, executor: list[str]
) -> None:
    job_id = make_job("sleep", params={"seconds": 600})
    with terminal.worker("--db", db, "--grace", "0.1", *executor) as worker:
        terminal.until(_runs(on_file), "the job runs")
        answer = terminal.end(worker)
    assert answer.code == 0
    _assert_given_back(on_file, job_id)


@EITHER
def test_a_second_signal_ends_it_at_once(
    db: str, make_job: MakeJob, on_file: JobQueue, executor: list[str]
) -> None:
    job_id = make_job("sleep", params={"seconds": 600})
    waiting = make_job("sleep", params={"seconds": 600})
    with terminal.worker("--db", db, "--grace", "500", *executor, "--concurrency", "1") as worker:
        terminal.until(_runs(on_file), "the job runs")
        worker.send_signal(signal.SIGINT)
        assert worker.stderr is not None
        while "stopping" not in worker.stderr.readline():
            pass
        answer = terminal.end(worker, signal.SIGINT)
    assert answer.code == 0
    assert "Traceback" not in answer.err
    _assert_given_back(on_file, job_id)
    assert on_file.get_status(waiting)["executions"] == []


@contextmanager
def _held(db: str) -> Iterator[None]:
    """Somebody who has never heard of turns holds the write lock."""
    connection = sqlite3.connect(db, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@EITHER
@pytest.mark.parametrize("signals", [1, 2])
def test_what_could_not_be_given_back_gives_exit_code_1_and_charges_nothing(
    db: str, make_job: MakeJob, on_file: JobQueue, executor: list[str], signals: int
) -> None:
    job_id = make_job("sleep", params={"seconds": 600})
    grace = "0.1" if signals == 1 else "500"
    with terminal.worker("--db", db, "--grace", grace, *executor) as worker:
        terminal.until(_runs(on_file), "the job runs")
        with _held(db):
            worker.send_signal(signal.SIGTERM)
            if signals == 2:
                assert worker.stderr is not None
                while "stopping" not in worker.stderr.readline():
                    pass
                worker.send_signal(signal.SIGTERM)
            _, err = worker.communicate(timeout=terminal.LIMIT)
    assert worker.returncode == 1, err
    assert "Traceback" not in err
    if "process" in executor:
        assert "Error: worker " in err
        assert "could not be written before the grace ended" in err
    with terminal.worker("--db", db, "--grace", "0") as other:  # which gives it back for the dead one
        terminal.until(
            lambda: bool(on_file.get_status(job_id)["executions"][0]["status"] != "running"), "it is rescued"
        )
        terminal.end(other)
    job = on_file.get_status(job_id)
    assert (job["attempts"], job["crashes"]) == (0, 0)


def test_a_second_signal_amid_the_first_has_the_last_word() -> None:
    told: list[int] = []

    def stop(times: int) -> None:
        if not told:
            told.append(0)
            signal.raise_signal(signal.SIGINT)
        told.append(times)

    with stop_on_signals(stop):
        signal.raise_signal(signal.SIGTERM)
    assert told[-1] == 2


def _assert_given_back(queue: JobQueue, job_id: str) -> None:
    job = queue.get_status(job_id)
    assert (job["status"], job["attempts"], job["crashes"]) == ("pending", 0, 0)
    assert [run["status"] for run in job["executions"]] == ["released"]


def test_a_worker_full_of_threads_that_hang_starts_anew_in_place(
    db: str, tmp_path: Path, on_file: JobQueue
) -> None:
    hang = {"path": str(tmp_path / "never")}
    jobs_ = [Job("hangs", "executions.hang_until", hang, timeout=0.1, max_attempts=1) for _ in range(3)]
    on_file.submit_many(jobs_)
    words = ("--db", db, "--executor", "thread", "--concurrency", "3", "--worker-id", "patient")
    with terminal.worker(*words, "--max-abandoned", "2") as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "Starting worker patient...\n"  # again, by the same process
        after = on_file.submit(Job("after", "executions.pid"))
        terminal.until(_is(on_file, after, "completed"), "it works on")
        assert on_file.get_result(after) == worker.pid
        answer = terminal.end(worker)
    assert answer.code == 0
    assert "Error: worker patient: 3 threads hang" in answer.err
    assert "The worker starts anew in place" in answer.err
    assert "Traceback" not in answer.err
    assert on_file.stats()["timeout"] == 3


def test_called_from_python_it_does_not_replace_its_caller(
    gigq: Gigq, db: str, on_file: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: Worker) -> None:
        raise TooManyAbandoned("they hang")

    monkeypatch.setattr(Worker, "start", start)
    assert gigq("worker", "--executor", "thread").err == "Error: they hang\n"
    assert gigq("worker", "--executor", "thread").code == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_running_just_one_job_gives_it_back(
    db: str, make_job: MakeJob, on_file: JobQueue, number: int
) -> None:
    job_id = make_job("sleep", params={"seconds": 600})
    with terminal.started("--db", db, "worker", "--once") as worker:
        terminal.until(_runs(on_file), "the job runs")
        answer = terminal.end(worker, number)
    assert answer.code == 130
    assert "Traceback" not in answer.err.replace("KeyboardInterrupt", "")
    assert on_file.get_status(job_id)["status"] == "pending"
    assert on_file.get_status(job_id)["attempts"] == 0


def test_a_replaced_database_ends_the_worker_with_exit_code_5(db: str) -> None:
    with terminal.worker("--db", db) as worker:
        Path(db).rename(f"{db}.away")
        out, err = worker.communicate(timeout=terminal.LIMIT)
    assert worker.returncode == 5, (out, err)
    assert "was replaced, renamed or deleted" in err
    assert "Traceback" not in err


def test_interrupting_who_waits_gives_130_and_no_traceback(db: str, make_job: MakeJob) -> None:
    with terminal.started("--db", db, "wait", make_job()) as waits:
        assert waits.stderr is not None
        assert waits.stderr.readline().startswith("No worker is running")
        answer = terminal.end(waits, signal.SIGINT)
    assert answer.code == 130
    assert answer.err.strip() == ""


def test_concurrency_is_jobs_at_once(db: str, tmp_path: Path, make_job: MakeJob, on_file: JobQueue) -> None:
    until = tmp_path / "until"
    ids = [make_job("wait_for", params={"path": str(until)}) for _ in range(3)]
    with terminal.worker("--db", db, "--concurrency", "3") as worker:
        terminal.until(_runs(on_file, 3), "all of them run")
        until.touch()
        for job_id in ids:
            terminal.until(_is(on_file, job_id, "completed"), "all of them end")
        assert terminal.end(worker).code == 0


def test_a_worker_whose_output_nobody_reads_works_on(db: str, make_job: MakeJob, on_file: JobQueue) -> None:
    job_id = make_job()
    process = subprocess.Popen(
        [sys.executable, "-m", "gigq", "--db", db, "worker"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=terminal.environment(),
    )
    try:
        assert process.stdout is not None
        process.stdout.close()
        terminal.until(_is(on_file, job_id, "completed"), "the job ends")
    finally:
        process.terminate()
        assert process.wait(terminal.LIMIT) == 0
