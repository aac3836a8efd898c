"""Jobs in child processes: how they end, what their death costs, and how they are stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import executions as work
import jobs
import pytest
from crews import ended, working
from processes import begun, wait_until, waiting

from gigq import InvalidJob, Job, JobQueue, Worker, WorkerFailed
from gigq.worker import family
from gigq.worker.executors import nursery, process

pytestmark = pytest.mark.skipif(os.name != "posix", reason="child processes need a POSIX system")


def output_of(queue: JobQueue, job: str) -> str:
    return "".join(run["output"] for run in queue.get_status(job)["executions"])


def first_line(record: dict[str, Any]) -> str:
    return str(record["error"]).partition("\n")[0]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been asked to stop gets a SIGTERM soon."""
    monkeypatch.setattr(process, "ASK", 0.2)


@pytest.fixture(params=["file", "memory"])
def queue(request: pytest.FixtureRequest, db: str) -> JobQueue:
    return JobQueue(db if request.param == "file" else ":memory:")


def test_jobs_run_in_another_process_and_their_results_are_stored(queue: JobQueue) -> None:
    adding = queue.submit(Job("add", jobs.add, {"a": 1, "b": 2}))
    where = queue.submit(Job("pid", work.pid))
    failing = queue.submit(Job("fail", jobs.fail, max_attempts=2))
    with working(queue):
        assert ended(queue, adding)["result"] == 3
        assert ended(queue, where)["result"] != os.getpid()
        failed = ended(queue, failing)
    assert (failed["status"], failed["attempts"]) == ("failed", 2)
    assert first_line(failed) == "ValueError: it broke"
    assert "in fail" in failed["error"]
    assert "gigq/worker" not in failed["error"], "the traceback is the job's own"


def test_children_have_the_parents_directory_path_and_environment(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINE", "yes")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    job = queue.submit(Job("look", work.surroundings))
    with working(queue):
        found = ended(queue, job)["result"]
    assert found["cwd"] == str(tmp_path)
    assert (found["MINE"], found["PYTHONPATH"]) == ("yes", "/somewhere")
    assert found["path"][0] == str(tmp_path / "more")
    assert found["stdin"] == ""


def test_a_module_of_the_working_directory_does_not_stand_in_for_the_standard_library(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("queue", "socket", "json", "selectors"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module')")
    monkeypatch.chdir(tmp_path)
    job = queue.submit(Job("add", jobs.add, {"a": 1, "b": 2}))
    with working(queue):
        assert ended(queue, job)["result"] == 3


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (work.exit_silently, "its process ended with exit code 0 while running"),
        (work.kill_itself, "killed by signal 9 (SIGKILL) while running"),
        (work.segfault, "killed by signal 11 (SIGSEGV) while running"),
    ],
)
def test_a_job_that_kills_its_process_costs_nobody_else(queue: JobQueue, function: Any, reason: str) -> None:
    others = queue.submit_many([Job("other", jobs.echo, {"value": n}) for n in range(200)])
    killer = queue.submit(Job("killer", function, max_crashes=2, priority=1))
    with working(queue, concurrency=2):
        record = ended(queue, killer)
        for n, other in enumerate(others):
            found = ended(queue, other)
            assert (found["status"], found["result"]) == ("completed", n)
            assert [run["status"] for run in found["executions"]] == ["completed"]
    assert (record["status"], record["crashes"], record["attempts"]) == ("failed", 2, 0)
    assert record["error"].startswith(reason)
    assert [run["status"] for run in record["executions"]] == ["crashed", "crashed"]


def test_max_attempts_1_means_one_start(queue: JobQueue) -> None:
    killer = queue.submit(Job("killer", work.kill_itself, max_attempts=1))
    with working(queue):
        record = ended(queue, killer)
    assert record["status"] == "failed"
    assert "not started again because max_attempts=1" in record["error"]


def test_sys_exit_ends_the_job_and_not_the_child(queue: JobQueue) -> None:
    exiting = queue.submit(Job("exit", work.exit_politely, max_attempts=1))
    with working(queue) as worker:
        assert first_line(ended(queue, exiting)) == "SystemExit: 7"
        before = queue.submit(Job("pid", work.pid))
        assert ended(queue, before)["status"] == "completed"
        assert worker.running


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    "function", [work.spin, work.sleep_long, work.sleep_in_a_coroutine, work.block_in_a_coroutine]
)
def test_a_timeout_ends_the_run(queue: JobQueue, function: Any) -> None:
    job = queue.submit(Job("long", function, timeout=0.3, max_attempts=1))
    after = queue.submit(Job("after", jobs.add, {"a": 1, "b": 2}))
    with working(queue, kill_grace=0.2):
        record = ended(queue, job)
        assert ended(queue, after)["status"] == "completed"
    assert record["status"] == "timeout"
    assert first_line(record) == "TimeoutError: ran past its timeout of 0.3 s"


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    "function", [work.swallow_every_exception, work.ignore_sigterm, work.hold_the_interpreter]
)
def test_one_that_does_not_listen_is_killed(queue: JobQueue, function: Any) -> None:
    job = queue.submit(Job("deaf", function, timeout=0.2, max_attempts=1))
    with working(queue, kill_grace=0.2):
        assert ended(queue, job)["status"] == "timeout"
        after = queue.submit(Job("after", jobs.add, {"a": 1, "b": 2}))
        assert ended(queue, after)["status"] == "completed"


@pytest.mark.usefixtures("_impatient")
def test_no_descendant_is_left(queue: JobQueue, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    job = queue.submit(Job("family", work.with_a_hidden_family, {"path": str(pids)}))
    with working(queue, kill_grace=0.2):
        wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"), "the family is there")
        left = [int(pid) for pid in pids.read_text().split()]
        assert len(left) == 2
        assert queue.cancel(job, running=True)
        assert ended(queue, job)["status"] == "cancelled"
        wait_until(lambda: not [pid for pid in left if family._stat(pid)], "the family is gone")


def test_a_result_that_comes_too_late_is_a_timeout(queue: JobQueue) -> None:
    job = queue.submit(Job("late", work.return_when_asked, timeout=0.2, max_attempts=1))
    with working(queue):
        assert ended(queue, job)["status"] == "timeout"


# -- cancel ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [work.sleep_long, work.spin, work.sleep_in_a_coroutine])
def test_a_running_job_can_be_cancelled(queue: JobQueue, function: Any) -> None:
    job = queue.submit(Job("long", function))
    child = queue.submit(Job("child", jobs.nothing, dependencies=[job]))
    with working(queue):
        ended(queue, job, "running")
        assert not queue.cancel(job)
        assert queue.cancel(job, running=True)
        record = ended(queue, job)
        assert ended(queue, child)["status"] == "cancelled"
    assert (record["status"], first_line(record)) == ("cancelled", "cancelled while it ran")
    assert [run["status"] for run in record["executions"]] == ["cancelled"]
    assert not queue.cancel(job, running=True)


def test_one_that_looks_can_end_in_its_own_way(queue: JobQueue) -> None:
    job = queue.submit(Job("polite", work.return_when_asked))
    with working(queue):
        wait_until(lambda: "looking" in output_of(queue, job), "it looks")
        assert queue.cancel(job, running=True)
        record = ended(queue, job)
    assert (record["status"], record["result"]) == ("completed", "stopped in good order")


@pytest.mark.usefixtures("frequent_upkeep")
def test_a_request_outlives_its_run_only_until_the_next_upkeep(db: str) -> None:
    queue = JobQueue(db)
    job = queue.submit(Job("long", work.sleep_long))
    with working(db):
        ended(queue, job, "running")
        queue.cancel(job, running=True)
        ended(queue, job)
        wait_until(lambda: not any(_requests(queue)), "the request is forgotten")


def _requests(queue: JobQueue) -> list[Any]:
    return queue._get_connection().execute("SELECT * FROM stop_request").fetchall()


# -- coroutines ------------------------------------------------------------------------------------------------


def test_coroutines_run_side_by_side_in_one_child(queue: JobQueue, tmp_path: Path) -> None:
    meeting = str(tmp_path / "meeting")
    ids = queue.submit_many([Job("meet", work.meet, {"path": meeting, "number": 30}) for _ in range(30)])
    with working(queue, async_slots=30):
        assert {ended(queue, job)["result"] for job in ids} == {"met"}


def test_no_more_than_the_slots(queue: JobQueue, tmp_path: Path) -> None:
    ids = queue.submit_many([Job("count", work.count_together) for _ in range(40)])
    with working(queue, async_slots=5):
        most = [ended(queue, job)["result"] for job in ids]
    assert max(most) == 5


def test_a_coroutine_function_given_as_text_is_found_out(queue: JobQueue, tmp_path: Path) -> None:
    meeting = str(tmp_path / "meeting")
    first = queue.submit(Job("first", "executions.breathe"))
    with working(queue, async_slots=10):
        assert ended(queue, first)["status"] == "completed"
        ids = [queue.submit(Job("meet", "executions.meet", {"path": meeting, "number": 1})) for _ in range(2)]
        assert [ended(queue, job)["result"] for job in ids] == ["met", "met"]


def test_each_has_a_context_of_its_own(queue: JobQueue) -> None:
    ids = queue.submit_many([Job("ctx", work.set_and_read, {"value": n}) for n in range(20)])
    with working(queue):
        assert [ended(queue, job)["result"] for job in ids] == [[n, job] for n, job in enumerate(ids)]


def test_tasks_left_over_are_cancelled_and_reported(queue: JobQueue) -> None:
    job = queue.submit(Job("leaves", work.leave_a_task))
    with working(queue):
        record = ended(queue, job)
    assert record["status"] == "completed"
    assert "cancelled: the one left behind" in record["executions"][0]["output"]


def test_sys_exit_in_a_coroutine_ends_the_job_alone(queue: JobQueue) -> None:
    exiting = queue.submit(Job("exit", work.exit_in_a_coroutine, max_attempts=1))
    with working(queue):
        assert first_line(ended(queue, exiting)) == "SystemExit: 3"
        after = queue.submit(Job("after", work.breathe))
        assert ended(queue, after)["status"] == "completed"


# -- what jobs need, and what they say -------------------------------------------------------------------------


def test_parent_results_travel(queue: JobQueue) -> None:
    small = queue.submit(Job("small", jobs.echo, {"value": [1]}))
    large = queue.submit(Job("large", jobs.echo, {"value": "x" * 200_000}))
    given = queue.submit(Job("merge", jobs.merge, dependencies=[small, large]))
    read = queue.submit(Job("read", work.read_parents, dependencies=[small, large]))
    with working(queue):
        assert ended(queue, given)["result"] == [[1], "x" * 200_000]
        assert ended(queue, read)["result"] == [[small, [1]], [large, "x" * 200_000]]


def test_large_params_and_results_travel(queue: JobQueue) -> None:
    ids = queue.submit_many([Job("large", jobs.echo, {"value": "x" * 900_000}) for _ in range(8)])
    with working(queue, concurrency=2):
        assert {len(ended(queue, job)["result"]) for job in ids} == {900_000}


def test_progress_and_output_are_seen_while_it_runs_and_kept(queue: JobQueue, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = queue.submit(Job("talks", work.talk, {"path": str(go)}))
    with working(queue):
        wait_until(lambda: "half way" in output_of(queue, job), "it is heard")
        seen = queue.get_status(job)
        assert (seen["progress"]["done"], seen["progress"]["total"]) == (1, 2)
        assert seen["progress"]["message"] == "half"
        go.touch()
        record = ended(queue, job)
    assert record["progress"]["done"] == 2
    output = record["executions"][0]["output"]
    assert output.splitlines() == [
        "printed",
        "to stderr",
        "WARNING somebody: logged",
        "half way",
        "the end",
    ]


def test_the_newest_output_is_kept(queue: JobQueue) -> None:
    job = queue.submit(Job("floods", work.flood, {"lines": 20_000}))
    with working(queue):
        output = ended(queue, job)["executions"][0]["output"]
    newest = "".join(f"{'x' * 40} line {n}\n" for n in range(19_000, 20_000))
    assert output.endswith(newest)
    assert len(output) < 400_000, "of more than a million characters"


# -- lives -----------------------------------------------------------------------------------------------------


def test_a_child_is_replaced_after_so_many_jobs(queue: JobQueue) -> None:
    ids = queue.submit_many([Job("pid", work.pid) for _ in range(12)])
    with working(queue, max_jobs_per_child=4):
        pids = [ended(queue, job)["result"] for job in ids]
    assert len(set(pids)) == 3
    assert all(pids.count(pid) == 4 for pid in pids)


def test_a_child_that_takes_too_much_memory_is_ended(queue: JobQueue) -> None:
    job = queue.submit(Job("greedy", work.take_memory, {"megabytes": 300}, max_crashes=1))
    with working(queue, max_memory=150_000_000):
        record = ended(queue, job)
        after = queue.submit(Job("after", jobs.add, {"a": 1, "b": 2}))
        assert ended(queue, after)["status"] == "completed"
    assert record["status"] == "failed"
    assert record["error"].startswith("out of memory: its process used ")
    assert "max_memory=150,000,000" in record["error"]


def test_a_child_that_is_killed_is_replaced(queue: JobQueue) -> None:
    with working(queue) as worker:
        first = ended(queue, queue.submit(Job("pid", work.pid)))["result"]
        os.kill(first, signal.SIGKILL)
        second = ended(queue, queue.submit(Job("pid", work.pid)))["result"]
        assert first != second
        assert worker.running


def test_imports_that_fail_end_the_worker_with_the_reason(db: str) -> None:
    queue = JobQueue(db)
    ids = queue.submit_many([Job("waits", jobs.nothing) for _ in range(3)])
    worker = Worker(db, executor="process", concurrency=2, imports=["there_is_no_such_module"])
    with pytest.raises(WorkerFailed, match="cannot import there_is_no_such_module: ModuleNotFoundError"):
        worker.start()
    for job in ids:  # given back at once, and not left to a rescue
        record = queue.get_status(job)
        assert (record["status"], record["executions"]) == ("pending", [])


def test_no_job_runs_in_a_child_whose_imports_failed(db: str, tmp_path: Path) -> None:
    queue = JobQueue(db)
    job = queue.submit(Job("one", jobs.append, {"path": str(tmp_path / "ran"), "text": "it ran"}))
    with pytest.raises(WorkerFailed):
        Worker(queue, executor="process", imports=["there_is_no_such_module"]).start()
    assert not (tmp_path / "ran").exists()
    Worker(queue).process_one()  # after it has taken back what that worker had
    record = queue.get_status(job)
    assert (record["status"], [run["status"] for run in record["executions"]]) == ("completed", ["completed"])


def test_a_long_job_holds_up_none_behind_it(queue: JobQueue, tmp_path: Path) -> None:
    until = tmp_path / "until"
    quick = [Job("quick", jobs.echo, {"value": n}) for n in range(300)]
    queue.submit_many(quick[:100])
    with working(queue, concurrency=2):
        wait_until(lambda: queue.stats()["completed"] == 100, "the pace is learned")
        long = Job("long", jobs.wait_for, {"path": str(until)})
        queue.submit_many([long, *quick[100:]])
        wait_until(lambda: queue.stats()["completed"] == 300, "all but the long one are done")
        assert queue.get_status(long.id)["status"] == "running"
        until.touch()
        ended(queue, long.id)
    assert {len(queue.get_status(job.id)["executions"]) for job in quick} == {1}


def test_stop_gives_back_what_has_not_started(queue: JobQueue, tmp_path: Path) -> None:
    until = tmp_path / "until"
    queue.submit_many([Job("quick", jobs.nothing) for _ in range(100)])
    with working(queue) as worker:
        wait_until(lambda: queue.stats()["completed"] == 100, "the pace is learned")
        queue.submit_many([waiting(until), *[Job("behind", jobs.nothing) for _ in range(50)]])
        wait_until(lambda: begun(until), "the long one runs")
        worker.stop()
        wait_until(lambda: queue.stats()["running"] == 1, "the others are given back")
        until.touch()
        wait_until(lambda: queue.stats()["completed"] == 101, "what runs is finished")
    assert queue.stats()["pending"] == 50


def test_at_the_end_of_the_grace_what_runs_is_stopped_and_given_back_uncharged(
    queue: JobQueue, tmp_path: Path
) -> None:
    job = queue.submit(Job("long", work.talk, {"path": str(tmp_path / "never")}))
    with working(queue) as worker:
        wait_until(lambda: output_of(queue, job), "it has started")
        worker.stop(grace=0)
    record = queue.get_status(job)
    assert (record["status"], record["attempts"], record["crashes"]) == ("pending", 0, 0)
    assert [run["status"] for run in record["executions"]] == ["released"]


def test_no_child_outlives_its_worker(queue: JobQueue) -> None:
    job = queue.submit(Job("pid", work.pid))
    with working(queue, concurrency=3):
        child = ended(queue, job)["result"]
        children = set(family.descendants(os.getpid()))
        assert child in children
    wait_until(lambda: not [pid for pid in children if family._stat(pid)], "they are gone")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"executor": "fibre"}, "executor: one of thread, process"),
        ({"async_slots": 0}, "async_slots"),
        ({"kill_grace": -1}, "kill_grace"),
        ({"max_jobs_per_child": 0}, "max_jobs_per_child"),
        ({"max_memory": 10}, "max_memory"),
    ],
)
def test_bad_options_are_refused(db: str, options: Any, told: str) -> None:
    with pytest.raises(InvalidJob, match=told):
        Worker(db, **options)


class Seamed(Worker):
    def _claim_job(self) -> dict[str, Any] | None:
        return super()._claim_job()


def test_seams_work_in_this_process_only(db: str) -> None:
    with pytest.raises(InvalidJob, match="executor='thread'"):
        Seamed(db, executor="process")


def test_time_does_not_stand_still_for_a_worker_without_work(db: str) -> None:
    with working(db):
        time.sleep(0.05)  # it starts and stops without a job


def test_nothing_is_claimed_before_a_child_is_ready(db: str, tmp_path: Path, monkeypatch: Any) -> None:
    go = tmp_path / "go"
    module = "import pathlib, time\nwhile not pathlib.Path(%r).exists():\n    time.sleep(0.01)\n"
    (tmp_path / "slow_to_import.py").write_text(module % str(go))
    monkeypatch.syspath_prepend(str(tmp_path))
    queue = JobQueue(db)
    job = queue.submit(Job("add", jobs.add, {"a": 1, "b": 2}))
    with working(db, imports=["slow_to_import"]) as worker:
        wait_until(lambda: worker._loop is not None, "the worker is up")
        assert not threading.Event().wait(0.3)
        assert queue.get_status(job)["status"] == "pending"
        go.touch()
        assert ended(queue, job)["result"] == 3


def test_a_child_that_cannot_be_started_now_is_started_later(
    db: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    queue = JobQueue(db)
    real = process.Process._start
    fails = [False]

    def start(self: process.Process) -> Any:
        if fails[0]:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(self)

    monkeypatch.setattr(process.Process, "_start", start)
    monkeypatch.setattr(nursery, "_START_AGAIN", 100_000_000)
    with working(queue) as worker:
        first = ended(queue, queue.submit(Job("pid", work.pid)))["result"]
        fails[0] = True
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: "trying again" in capfd.readouterr().err, "it is told")
        fails[0] = False
        assert ended(queue, queue.submit(Job("pid", work.pid)))["result"] != first
        assert worker.running
