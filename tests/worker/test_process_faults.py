"""What jobs do to the process they run in, and what the stop of one costs the others in it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import executions
import faults
import jobs
import pytest
from crews import Crew, ended, runs_of, working
from processes import wait_until

from gigq import Job, JobQueue
from gigq.store.base import Store
from gigq.worker import family
from gigq.worker.executors import nursery, process

pytestmark = pytest.mark.skipif(os.name != "posix", reason="child processes need a POSIX system")

MakeCrew = Callable[..., Crew]


@pytest.fixture
def queue(db: str) -> JobQueue:
    return JobQueue(db)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been asked to stop gets a SIGTERM soon, and what does not leave is soon ended."""
    monkeypatch.setattr(process, "ASK", 0.2)
    monkeypatch.setattr(nursery, "_FAREWELL", 0.3)


@pytest.fixture
def make_crew(tmp_path: Path) -> Iterator[MakeCrew]:
    """Executors without a database."""
    made: list[Crew] = []

    def make(count: int = 1, **options: Any) -> Crew:
        made.append(Crew(tmp_path, count, **options))
        return made[-1]

    yield make
    for crew in made:
        crew.close()


def at(path: Path) -> str:
    return json.dumps({"path": str(path)})


# -- stops and those beside them -------------------------------------------------------------------------------


def test_a_stop_of_a_call_that_has_not_started_costs_its_neighbours_nothing(
    make_crew: MakeCrew, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    crew = make_crew(async_slots=1)
    runs, waits = crew.call(faults.sit, at(go)), crew.call(faults.sit, at(go))
    crew.dispatch(runs, waits)
    crew.until_started(runs)
    crew.executor.stop(waits, "cancelled")
    crew.until_ended(waits)
    assert waits.end == "cancelled"
    until = time.monotonic() + 0.6  # force would come after 0.2 s, and an end by force after another 0.2
    crew.until(lambda: time.monotonic() > until, "force would have come")
    go.touch()
    crew.until_ended(runs)
    assert (runs.end, runs.error) == ("returned", None)


def test_a_second_call_that_does_not_listen_is_forced_too(make_crew: MakeCrew, tmp_path: Path) -> None:
    crew = make_crew()
    listens, deaf = crew.call(faults.sit_for_ever), crew.call(faults.swallow_cancels)
    crew.dispatch(listens, deaf)
    crew.until_started(listens, deaf)
    crew.executor.stop(listens, "timeout")
    crew.executor.stop(deaf, "timeout")
    crew.until_ended(listens, deaf)
    assert deaf.end == "timeout"


def test_a_call_that_was_sent_nowhere_yet_can_be_stopped(make_crew: MakeCrew, tmp_path: Path) -> None:
    go = tmp_path / "go"
    crew = make_crew()
    runs = crew.call(faults.wait, at(go))
    alone = crew.call(jobs.nothing, crashes=1)
    crew.dispatch(runs)
    crew.until_started(runs)
    crew.dispatch(alone)
    crew.executor.stop(alone, "cancelled")
    crew.until_ended(alone)
    assert alone.end == "cancelled"
    go.touch()
    crew.until_ended(runs)
    assert not crew.has_started(alone)


def test_coroutines_do_not_keep_out_what_must_run_alone(make_crew: MakeCrew) -> None:
    crew = make_crew(async_slots=4)
    crew.dispatch(*[crew.call(executions.breathe) for _ in range(20)])
    alone = crew.call(jobs.nothing, crashes=1)
    plain = crew.call(jobs.nothing)
    crew.dispatch(alone, plain)

    def met() -> bool:
        if crew.number < 2000 and len(crew.executor._dealer._coroutines) < 50:
            crew.dispatch(*[crew.call(executions.count_together) for _ in range(10)])  # there are always more
        return alone in crew.ended and plain in crew.ended

    crew.until(met, "it had its turn")
    assert crew.number < 2000, "only when there were no more coroutines"


@pytest.mark.parametrize("function", [faults.leave_a_sleeper, faults.leave_a_sleeper_async])
def test_one_that_stops_when_asked_leaves_no_process_behind(
    queue: JobQueue, tmp_path: Path, function: Any
) -> None:
    pids = tmp_path / "pids"
    job = queue.submit(Job("leaves", function, {"path": str(pids)}))
    with working(queue):
        sleeper = wait_until(lambda: _whole_lines(pids), "it has started its sleeper")[0]
        assert family._stat(sleeper) is not None
        assert queue.cancel(job, running=True)
        assert ended(queue, job)["status"] == "cancelled"
        wait_until(lambda: family._stat(sleeper) is None, "the sleeper is gone")


def _whole_lines(path: Path) -> list[int]:
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [int(line) for line in lines if line.endswith("\n")]


def test_a_child_that_does_not_leave_is_ended(queue: JobQueue, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    job = queue.submit(Job("stays", faults.leave_a_thread, {"path": str(pids)}))
    with working(queue, max_jobs_per_child=1):
        assert ended(queue, job)["status"] == "completed"
        wait_until(lambda: family._stat(int(pids.read_text())) is None, "its process is gone")


# -- descriptors, copies, and what is common ---------------------------------------------------------------------


@pytest.mark.parametrize("function", [faults.close_everything, faults.close_everything_and_open_another])
def test_one_that_closes_the_way_to_its_worker_has_crashed(
    queue: JobQueue, tmp_path: Path, function: Any
) -> None:
    calls = tmp_path / "calls"
    job = queue.submit(Job("closes", function, {"path": str(calls)}, max_crashes=2))
    others = queue.submit_many([Job("other", jobs.echo, {"value": n}) for n in range(50)])
    with working(queue):
        record = ended(queue, job)
        assert [ended(queue, other)["result"] for other in others] == list(range(50))
    assert (record["status"], runs_of(record)) == ("failed", ["crashed", "crashed"])
    assert record["error"].startswith("its process ended with exit code ")
    assert calls.read_text().split() == ["run", "run"]
    other = Path(f"{calls}.other")
    assert not other.exists() or other.read_bytes() == b"", "gigq wrote into a file of the job"


ONCE: list[tuple[Any, Any]] = [
    (faults.write_garbage, "written"),
    (faults.return_twice, "the original"),
    (faults.raise_in_the_copy, "the original"),
    (faults.return_twice_async, "the original"),
    (faults.print_in_the_copy, ""),
    (faults.change_directory, "there is no such folder any more"),
    (faults.replace_stdout, "replaced"),
    (faults.close_stdout, "closed"),
    (faults.take_the_signals, "taken"),
    (faults.forget_modules, "forgotten"),
]


@pytest.mark.parametrize(("function", "result"), ONCE, ids=[function.__name__ for function, _ in ONCE])
def test_one_end_one_run_and_others_are_fine(
    queue: JobQueue, tmp_path: Path, function: Any, result: Any
) -> None:
    calls = tmp_path / "calls"
    job = queue.submit(Job("faulty", function, {"path": str(calls)}))
    others = queue.submit_many([Job("other", jobs.echo, {"value": n}) for n in range(20)])
    with working(queue, kill_grace=0.2):
        record = ended(queue, job)
        for n, other in enumerate(others):
            found = ended(queue, other)
            assert (found["status"], found["result"], runs_of(found)) == ("completed", n, ["completed"])
        late = queue.submit(Job("late", executions.breathe))
        assert ended(queue, late)["status"] == "completed"
        # and one that has to be stopped still can be
        long = queue.submit(Job("long", executions.sleep_long, timeout=0.2, max_attempts=1))
        assert ended(queue, long)["status"] == "timeout"
    assert (record["status"], record["result"]) == ("completed", result), record["error"]
    assert runs_of(record) == ["completed"]
    assert calls.read_text().split() == ["run"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_jobs_may_use_multiprocessing(queue: JobQueue, tmp_path: Path, method: str) -> None:
    calls = tmp_path / "calls"
    job = queue.submit(Job("pool", faults.use_multiprocessing, {"path": str(calls), "method": method}))
    with working(queue):
        record = ended(queue, job)
    assert (record["status"], record["result"]) == ("completed", [0, 2, 4, 6, 8]), record["error"]
    assert calls.read_text().split() == ["run"]


@pytest.mark.parametrize("function", [faults.write_garbage_everywhere, faults.write_a_false_frame])
def test_nonsense_on_the_way_to_its_worker_is_a_crash(queue: JobQueue, tmp_path: Path, function: Any) -> None:
    calls = tmp_path / "calls"
    job = queue.submit(Job("garbage", function, {"path": str(calls)}, max_crashes=2))
    with working(queue) as worker:
        record = ended(queue, job)
        after = queue.submit(Job("after", jobs.add, {"a": 1, "b": 2}))
        assert ended(queue, after)["result"] == 3
        assert worker.running
    assert (record["status"], runs_of(record)) == ("failed", ["crashed", "crashed"])
    assert len(calls.read_text().split()) == 2


# -- a cancel and another end at the same time -----------------------------------------------------------------


@pytest.mark.parametrize("function", [executions.kill_itself, jobs.fail])
def test_a_cancel_is_not_lost_when_the_run_ends_in_another_way(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch, function: Any
) -> None:
    """The request comes when the run is over already, and its worker has not looked since."""
    job = queue.submit(Job("ends badly", function))
    child = queue.submit(Job("child", jobs.nothing, dependencies=[job]))
    real = Store.exchange

    def exchange(self: Store, settlements: list[Any], *args: Any, **options: Any) -> Any:
        if settlements and settlements[0].lease.id == job:
            queue.cancel(job, running=True)
        return real(self, settlements, *args, **options)

    monkeypatch.setattr(Store, "exchange", exchange)
    with working(queue):
        record = ended(queue, job)
        assert ended(queue, child)["status"] == "cancelled"
    assert record["status"] == "cancelled"
    assert record["error"].startswith("cancelled while it ran (")
    assert len(record["executions"]) == 1
    assert queue.stats()["cancelled"] == 2


def test_a_stop_of_what_has_just_ended_costs_nobody_else_anything(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 1)
    try:
        quick = crew.call(jobs.nothing)
        crew.dispatch(quick)
        crew.until_ended(quick)
        crew.executor.stop(quick, "cancelled")
        assert quick.asked is None
        assert crew.executor.next_check() > 1, "nobody is to be ended by force"
    finally:
        crew.close()
