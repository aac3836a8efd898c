"""A job whose module or function this worker does not have is held, and costs nothing."""

from __future__ import annotations

from pathlib import Path

import torture_jobs
from rig import ClockFile, Process, Rig, wait_until

MODULE = """
import ledger

def work():
    with ledger.run() as mine:
        return mine.execution_id
"""


def elsewhere(rig: Rig, text: str = MODULE) -> Path:
    """A folder with a module that only some workers can import."""
    folder = rig.folder / "elsewhere"
    folder.mkdir()
    (folder / "gigq_elsewhere.py").write_text(text)
    return folder


def await_held(rig: Rig, job: str) -> None:
    wait_until(lambda: rig.status(job)["held_by"] == "import:gigq_elsewhere", "the job to be held")


def await_word(worker: Process, word: str) -> None:
    wait_until(lambda: word in worker.said(), f"the worker to say {word}")


def test_a_missing_module_holds_its_jobs_and_is_told_once(rig: Rig) -> None:
    jobs = [rig.submit("gigq_elsewhere.work", name="elsewhere") for _ in range(3)]
    worker = rig.worker(concurrency=2)
    for job in jobs:
        await_held(rig, job)
    good = rig.submit(torture_jobs.work)
    rig.await_status(good, "completed")
    for job in jobs:
        shown = rig.status(job)
        assert (shown["status"], shown["attempts"], shown["executions"]) == ("pending", 0, [])
        assert "no module named gigq_elsewhere" in shown["error"]
    assert worker.said().count("gigq_elsewhere.work") == 1
    assert worker.said().count("\n") == 1
    able = rig.worker(path=str(elsewhere(rig)))
    for job in jobs:
        shown = rig.await_status(job, "completed")
        assert (shown["attempts"], shown["error"], shown["held_by"]) == (1, None, None)
        assert rig.starts(job)[0].pid == able.pid
    rig.stop(worker, able)
    rig.judge()


def test_process_one_releases_what_it_can_import(rig: Rig) -> None:
    job = rig.submit("gigq_elsewhere.work", name="elsewhere")
    unable = rig.worker(once=True)
    assert unable.wait() == 0, unable.said()
    await_held(rig, job)
    able = rig.worker(once=True, path=str(elsewhere(rig)))
    assert able.wait() == 0, able.said()
    assert rig.status(job)["status"] == "completed"
    rig.judge()


def test_a_missing_function_holds_its_job_too(rig: Rig) -> None:
    job = rig.submit("gigq_elsewhere.other", name="other")
    folder = elsewhere(rig)
    worker = rig.worker(path=str(folder), upkeep_every=0.01)
    await_held(rig, job)
    (folder / "gigq_elsewhere.py").write_text(f"{MODULE}\nother = work\n")
    # This worker has tried in vain, and tries again only when it is started again.
    again = rig.worker(path=str(folder))
    rig.await_status(job, "completed")
    rig.stop(worker, again)


def test_a_module_that_raises_is_a_failure_of_the_job(rig: Rig) -> None:
    folder = elsewhere(rig, "import no_such_module_at_all\n")
    job = rig.submit("gigq_elsewhere.work", name="elsewhere", max_attempts=2)
    worker = rig.worker(path=str(folder))
    shown = rig.await_status(job)
    assert shown["status"] == "failed"
    assert shown["attempts"] == 2
    assert "no_such_module_at_all" in shown["error"]
    rig.stop(worker)


def test_a_held_job_fails_after_a_day_however_often_it_was_tried(rig: Rig) -> None:
    clock = ClockFile(rig.folder / "clock")
    folder = elsewhere(rig)
    options = {"clock": str(clock.path), "path": str(folder), "upkeep_every": 0.01}
    job = rig.submit("gigq_elsewhere.never_there", name="elsewhere")
    child = rig.submit(torture_jobs.work, dependencies=[job])
    for _ in range(2):  # each new worker tries once more
        worker = rig.worker(**options)
        await_word(worker, "never_there")
        await_held(rig, job)
        rig.stop(worker)
        clock.jump(23 * 3600)
    assert rig.status(job)["status"] == "pending"
    clock.jump(25 * 3600)
    worker = rig.worker(**options)
    shown = rig.await_status(job)
    assert (shown["status"], shown["attempts"]) == ("failed", 0)
    assert "import:gigq_elsewhere" in shown["error"]
    assert rig.await_status(child)["status"] == "cancelled"
    clock.jump(0)
    rig.stop(worker)
    rig.judge()
