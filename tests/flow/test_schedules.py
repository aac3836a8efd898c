"""Schedules: one job for each tick, whoever looks, whenever."""

from __future__ import annotations

import sqlite3
import threading
import types
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jobs
import pytest
import schedule_jobs
from clocks import TurnedClock
from processes import in_a_thread, start, wait_until

from gigq import InvalidJob, InvalidSchedule, Job, JobQueue, Limit, Unique, Worker, crontab, task
from gigq.clock import SECOND, from_iso, to_iso
from gigq.scheduling import declared_in, default_name
from gigq.store.transaction import Transaction
from gigq.worker.chores import schedules

MINUTE = 60 * SECOND
NOW = "2025-06-15T15:06:40.000000+00:00"
"""What a TurnedClock shows first."""


def fire(queue: JobQueue) -> int:
    """Do what a worker does about schedules, until nothing is due."""
    made, again = schedules.fire(queue._store, queue.clock)
    while again is not None and again <= queue.clock.now():
        more, again = schedules.fire(queue._store, queue.clock)
        made += more
    return made


def drain(queue: JobQueue) -> None:
    worker = Worker(queue)
    while worker.process_one():
        pass
    worker.close()


def ticks(queue: JobQueue) -> list[str]:
    """Of all jobs, in the order in which they were made; without fractions of a second."""
    return [str(job["tick"])[:19] for job in reversed(queue.list_jobs(limit=10_000))]


def at(*times: str) -> list[str]:
    return [f"2025-06-15T{time}" for time in times]


def shown(queue: JobQueue, name: str = "s") -> dict[str, Any]:
    [found] = [row for row in queue.schedules() if row["name"] == name]
    return found


# -- a tick becomes a job --------------------------------------------------------------------------------------


def test_each_tick_becomes_one_job_at_its_time(queue: JobQueue, clock: TurnedClock) -> None:
    assert queue.schedule(
        "s", jobs.add, cron="* * * * *", params={"a": 1, "b": 2}, priority=7, overlap="allow"
    )
    assert fire(queue) == 0
    clock.turn(19.9)
    assert fire(queue) == 0
    clock.turn(0.1)
    assert (fire(queue), fire(queue)) == (1, 0)
    clock.turn(60)
    assert (fire(queue), fire(queue)) == (1, 0)
    assert ticks(queue) == at("15:07:00", "15:08:00")
    drain(queue)
    job = queue.list_jobs()[0]
    assert (job["name"], job["schedule"], job["priority"], job["result"]) == ("add", "s", 7, 3)
    assert job["tick"] == "2025-06-15T15:08:00.000000+00:00"
    assert queue.get_status(job["id"])["tick"] == job["tick"]


def test_a_worker_makes_the_jobs_and_runs_them(queue: JobQueue, worker: Worker, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.my_tick, every=60)
    assert not worker.process_one()
    clock.turn(90)
    assert worker.process_one()
    assert not worker.process_one()
    [job] = queue.list_jobs()
    assert job["result"] == "2025-06-15T15:07:40+00:00"


def test_a_worker_with_its_own_claim_makes_them_too(queue: JobQueue, clock: TurnedClock) -> None:
    class Own(Worker):
        def _claim_job(self) -> dict[str, Any] | None:
            return super()._claim_job()

    queue.schedule("s", jobs.nothing, every=60)
    clock.turn(61)
    worker = Own(queue, polling_interval=0.01)
    thread = in_a_thread(worker)
    wait_until(lambda: queue.stats()["completed"], "the job has run")
    worker.stop()
    thread.join(60)


def test_a_job_without_a_schedule_has_no_tick(queue: JobQueue, worker: Worker) -> None:
    job_id = queue.submit(Job("j", jobs.my_tick))
    assert worker.process_one()
    status = queue.get_status(job_id)
    assert (status["result"], status["schedule"], status["tick"]) == (None, None, None)


def test_the_tick_reaches_a_child_process_and_a_sleeping_worker_wakes_for_it(db: str) -> None:
    queue = JobQueue(db)
    worker = Worker(queue, polling_interval=1000, executor="process")
    thread = in_a_thread(worker)
    queue.schedule("s", jobs.my_tick, at=datetime.now(UTC) + timedelta(seconds=0.2))
    wait_until(lambda: queue.stats()["completed"], "the job has run")
    worker.stop()
    thread.join(60)
    [job] = queue.list_jobs()
    assert from_iso(job["result"]) == from_iso(job["tick"])


def test_an_idle_worker_sleeps_exactly_until_the_next_tick(queue: JobQueue, clock: TurnedClock) -> None:
    worker = Worker(queue)
    upkeep = worker._desk.upkeep()
    queue.schedule("later", jobs.nothing, every=60)
    queue.schedule("soon", jobs.nothing, every=0.25)
    upkeep.run_once(1)
    assert upkeep.seconds_left() == 0.25
    clock.turn(0.25)
    assert upkeep.is_due()
    assert upkeep.run_once(1), "a job may be ready"
    assert not upkeep.is_due()
    assert queue.stats()["pending"] == 1
    assert queue._store.peek().next_tick == clock.now() + SECOND // 4
    worker.close()


def test_one_moment_makes_one_job_and_then_rests(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, at="2025-06-15T16:00+00:00")
    clock.turn(7200)
    assert (fire(queue), fire(queue)) == (1, 0)
    assert shown(queue)["next_at"] is None
    assert not queue.schedule("s", jobs.nothing, at="2025-06-15T16:00+00:00"), "said again when it is over"


def test_start_and_end_bound_the_ticks(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule(
        "s", jobs.nothing, every=600, start="2025-06-15T16:00Z", end="2025-06-15T16:20Z", misfire="all"
    )
    clock.turn(86_400)
    assert fire(queue) == 3
    assert ticks(queue) == at("16:00:00", "16:10:00", "16:20:00")
    assert shown(queue)["next_at"] is None


# -- declaring -------------------------------------------------------------------------------------------------


def test_the_same_again_changes_nothing_and_writes_nothing(db: str, clock: TurnedClock) -> None:
    queue = JobQueue(db, clock=clock)
    what: dict[str, Any] = {"cron": "0 5 * * *", "timezone": "Asia/Tokyo", "params": {"a": 1, "b": 2}}
    assert queue.schedule("s", jobs.add, **what)
    before = shown(queue)
    clock.turn(10)
    with closing(sqlite3.connect(db)) as watcher:
        version = watcher.execute("PRAGMA data_version").fetchone()
        assert not queue.schedule("s", jobs.add, **what)
        assert fire(queue) == 0
        assert watcher.execute("PRAGMA data_version").fetchone() == version
    assert shown(queue) == before


def test_a_change_of_anything_but_the_times_leaves_the_next_tick(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.add, every=60, params={"a": 1, "b": 2})
    clock.turn(30)
    assert queue.schedule("s", jobs.add, every=60, params={"a": 3, "b": 4}, overlap="allow")
    assert shown(queue)["next_at"] == "2025-06-15T15:07:40.000000+00:00"
    assert (shown(queue)["params"], shown(queue)["overlap"]) == ({"a": 3, "b": 4}, "allow")
    assert queue.schedule("s", jobs.add, every=90, params={"a": 3, "b": 4}, overlap="allow")
    assert shown(queue)["next_at"] == "2025-06-15T15:08:40.000000+00:00"


def test_a_change_leaves_a_paused_schedule_paused(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, every=60)
    assert queue.pause_schedule("s")
    queue.schedule("s", jobs.nothing, every=30)
    assert (shown(queue)["paused"], shown(queue)["next_at"]) == (True, None)
    clock.turn(3600)
    assert fire(queue) == 0


def test_a_task_declares_its_schedule(queue: JobQueue) -> None:
    assert schedule_jobs.every_morning(cups=2) == 2
    assert queue.schedule(schedule_jobs.every_morning)
    assert not queue.schedule(schedule_jobs.every_morning)
    row = shown(queue, "schedule_jobs.every_morning")
    assert (row["cron"], row["timezone"], row["overlap"]) == ("0 5 * * *", "Europe/Berlin", "queue")
    assert row["next_ticks"][:2] == ["2025-06-16T03:00:00.000000+00:00", "2025-06-17T03:00:00.000000+00:00"]
    assert queue.schedule("other", schedule_jobs.every_morning, every=60, priority=5, params={"cups": 3})
    assert (shown(queue, "other")["cron"], shown(queue, "other")["overlap"]) == (None, "skip")
    job = queue.get_status(queue.run_schedule("other"))
    assert (job["priority"], job["params"]) == (5, {"cups": 3})
    assert queue.get_status(queue.run_schedule("schedule_jobs.every_morning"))["priority"] == 3


def test_the_declared_tasks_of_a_module_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [default_name(found) for found in declared_in(schedule_jobs)] == ["schedule_jobs.every_morning"]
    package = types.ModuleType("jobs_of_others")
    monkeypatch.setattr(package, "imported", schedule_jobs.every_morning, raising=False)
    assert declared_in(package) == []


def test_a_schedule_may_have_any_option_of_a_job(queue: JobQueue) -> None:
    options: dict[str, Any] = {"timeout": None, "max_attempts": 9, "retry_delay": 1.5, "description": "d"}
    queue.schedule("s", jobs.nothing, every=60, **options)
    job = queue.get_status(queue.run_schedule("s"))
    assert {field: job[field] for field in options} == options


def test_the_times_of_a_job_count_from_its_tick_and_when_it_is_made_good_by_hand_from_now(
    queue: JobQueue, clock: TurnedClock
) -> None:
    times: dict[str, Any] = {"delay": 5, "expires": 30, "deadline": timedelta(minutes=1)}
    queue.schedule("s", jobs.nothing, every=60, overlap="allow", **times)
    clock.turn(70)
    assert fire(queue) == 1
    assert queue.backfill("s", "2025-06-15T15:05:40+00:00", "2025-06-15T15:06:00+00:00") == 1
    fired, filled = (queue.get_status(job["id"]) for job in reversed(queue.list_jobs()))
    for job, base in ((fired, fired["tick"]), (filled, to_iso(clock.now()))):
        start = from_iso(base)
        assert from_iso(job["expires_at"]) == start + 30 * SECOND
        assert from_iso(job["deadline_at"]) == start + MINUTE
        assert from_iso(job["run_at"]) == start + 5 * SECOND
    clock.turn(21)
    drain(queue)
    assert queue.get_status(fired["id"])["status"] == "cancelled"
    assert queue.get_status(filled["id"])["status"] == "completed"


def test_retry_policies_and_queues_are_kept_with_the_schedule(queue: JobQueue) -> None:
    queue.schedule("s", jobs.nothing, every=60, retry=[1, 5, 60], retry_on=(OSError,), queue="mail")
    job = queue.get_status(queue.run_schedule("s"))
    same = queue.get_status(
        queue.submit(Job("j", jobs.nothing, retry=[1, 5, 60], retry_on=(OSError,), queue="mail"))
    )
    assert job["retry"] is not None
    assert (job["retry"], job["queue"]) == (same["retry"], "mail")


def test_limits_and_labels_are_kept_with_the_schedule(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule(
        *("s", jobs.echo),
        every=60,
        params={"value": "x"},
        overlap="allow",
        limit=Limit("of {value}", concurrency=1),
        tags=["a"],
        metadata={"b": 1},
    )
    for _ in range(2):
        clock.turn(60)
        assert fire(queue) == 1
    first, second = reversed(queue.list_jobs())
    assert (first["tags"], first["metadata"], second["held_by"]) == (["a"], {"b": 1}, "limit:of x")
    drain(queue)
    assert queue.stats()["completed"] == 2


def test_an_option_takes_the_place_of_what_the_task_declares_instead(queue: JobQueue) -> None:
    queue.schedule("s", task(retry_delay=5)(jobs.nothing), every=60, retry=[1, 2])
    job = queue.get_status(queue.run_schedule("s"))
    assert job["retry_delay"] == 0
    assert job["retry"] is not None


@pytest.mark.parametrize("on_conflict", ["return", "replace"])
def test_a_unique_job_that_is_in_the_queue_is_not_made_again(
    queue: JobQueue, clock: TurnedClock, on_conflict: Any
) -> None:
    unique = Unique("k", on_conflict=on_conflict)
    queue.schedule("s", jobs.nothing, every=60, overlap="allow", misfire="all", unique=unique)
    clock.turn(130)
    assert fire(queue) == 1, "two ticks"
    [job] = queue.list_jobs()
    assert (job["tick"][:19], shown(queue)["skipped_for"]) == ("2025-06-15T15:07:40", "unique")
    assert shown(queue)["skipped_at"][:19] == "2025-06-15T15:08:40"
    assert queue.run_schedule("s") == job["id"]
    assert queue.backfill("s", "2025-06-15T15:00:00+00:00") == 0
    drain(queue)
    clock.turn(60)
    assert fire(queue) == 1


def test_a_unique_job_that_is_refused_is_tried_again(queue: JobQueue, clock: TurnedClock) -> None:
    first = queue.submit(Job("j", jobs.nothing, unique_key="k"))
    queue.schedule("s", jobs.nothing, every=60, unique=Unique("k", on_conflict="raise"))
    queue.schedule("t", jobs.nothing, every=60)
    clock.turn(60)
    assert fire(queue) == 1
    assert first in shown(queue)["error"]
    drain(queue)
    clock.turn(60)
    assert fire(queue) == 2
    assert shown(queue)["error"] is None


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"cron": "0 5 30 2 *"}, "cron: .*no such date ever comes"),
        ({"cron": "0 5 * *"}, "cron: five fields"),
        ({"cron": "0 5 * * *", "timezone": "Mars/X"}, "timezone: 'Mars/X'"),
        ({"every": 60, "start": "2026-01-02", "end": "2026-01-01"}, "end: 2026-01-01 is before start"),
        ({"every": 60, "end": "2020-01-01"}, "end: schedule 's' would have no tick"),
        ({"at": "2020-01-01"}, "at: schedule 's' would have no tick"),
        ({"every": 60, "name": ""}, "name: printable text"),
        ({"every": 60, "name": "a\nb"}, "name: printable text"),
        ({"every": 60, "name": "n" * 201}, "name: printable text of at most 200"),
        ({"every": 60, "name": 5}, "name: printable text"),
        ({"every": 60, "task": None}, "task: a @task, a function, or the text"),
        ({"every": 60, "task": lambda: None}, "function: a lambda"),
        ({"every": 60, "task": "nodots"}, "function: 'nodots' is not of the form"),
        ({"every": 60, "params": {"x": object()}}, "params\\['x'\\]"),
        ({"every": 60, "params": {1: 2}}, "params: a dict of keyword arguments"),
        ({"every": 60, "dependencies": ["x"]}, "dependencies: the jobs of a schedule have no parents"),
        ({"every": 60, "timeout": -1}, "timeout: seconds above 0"),
        ({"every": 60, "run_at": "2030-01-01"}, "run_at: the jobs of a schedule start at their ticks"),
        ({"every": 60, "expires": "2030-01-01"}, "expires: seconds or a timedelta are needed"),
        ({"every": 60, "deadline": datetime(2030, 1, 1, tzinfo=UTC)}, "deadline: seconds or a timedelta"),
        ({"every": 60, "misfire": "all", "overlap": "skip"}, "misfire, overlap: "),
        ({}, "cron, every, at: exactly one"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    queue: JobQueue, what: dict[str, Any], told: str
) -> None:
    given = {"name": "s", "task": jobs.nothing, **what}
    with pytest.raises(InvalidJob, match=told):
        queue.schedule(given.pop("name"), given.pop("task"), **given)
    assert queue.schedules() == []


def test_an_unknown_option_is_a_type_error(queue: JobQueue) -> None:
    for function in (jobs.nothing, schedule_jobs.every_morning):
        with pytest.raises(TypeError, match="unexpected"):
            queue.schedule("s", function, every=60, nonsense=1)
    assert queue.schedules() == []


def test_a_task_that_declares_nonsense_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidSchedule, match="cron: '99 "):
        task(cron="99 * * * *")(jobs.nothing)
    with pytest.raises(InvalidSchedule, match="exactly one of them is needed, and none"):
        task(timezone="Asia/Tokyo")(jobs.nothing)


# -- ticks that were missed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        ("once", at("15:16:00")),
        ("skip", []),
        ("all", at("15:08:00", "15:10:00", "15:12:00", "15:14:00", "15:16:00")),
    ],
)
def test_what_was_missed_is_made_good_by_policy(
    queue: JobQueue, clock: TurnedClock, misfire: Any, expected: list[str]
) -> None:
    queue.schedule("s", jobs.nothing, cron="*/2 * * * *", misfire=misfire)
    clock.turn(10 * 60 + 70)
    assert fire(queue) == len(expected)
    assert ticks(queue) == expected
    assert shown(queue)["next_at"] == "2025-06-15T15:18:00.000000+00:00"
    missed = ("2025-06-15T15:16:00.000000+00:00", "misfire") if misfire == "skip" else (None, None)
    assert (shown(queue)["skipped_at"], shown(queue)["skipped_for"]) == missed


def test_many_missed_ticks_are_made_good_a_piece_at_a_time(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, every=1, misfire="all", catch_up=700, overlap="allow")
    clock.turn(5000)
    made, again = schedules.fire(queue._store, clock)
    assert made == 500
    assert again is not None
    assert again <= clock.now()
    assert schedules.fire(queue._store, clock)[0] == 200
    first = from_iso(NOW) + 4301 * SECOND
    assert ticks(queue) == [to_iso(first + n * SECOND)[:19] for n in range(700)]


def test_a_clock_that_goes_back_makes_no_tick_again(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, every=60, overlap="allow")
    for seconds in (60, 60, -100, 40, 40, 30, 60):
        clock.turn(seconds)
        fire(queue)
    assert ticks(queue) == at("15:07:40", "15:08:40", "15:09:40")


def test_not_even_a_schedule_that_was_removed_and_added_again(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, cron="* * * * *", overlap="allow")
    clock.turn(20)
    assert fire(queue) == 1
    assert queue.unschedule("s")
    clock.turn(-30)
    queue.schedule("s", jobs.nothing, cron="* * * * *", overlap="allow")
    clock.turn(40)
    assert fire(queue) == 0, "that tick has its job"
    clock.turn(60)
    assert fire(queue) == 1
    assert ticks(queue) == at("15:07:00", "15:08:00")


# -- the last job has not ended --------------------------------------------------------------------------------


def test_skip_leaves_a_tick_out_until_the_last_job_has_ended(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, every=60)
    made = []
    for end in (False, False, True, True):
        clock.turn(60)
        made.append(fire(queue))
        if end:
            drain(queue)
    assert made == [1, 0, 0, 1]
    row = shown(queue)
    assert (row["skipped_at"], row["skipped_for"]) == ("2025-06-15T15:09:40.000000+00:00", "overlap")
    assert (row["last_tick"], row["last_job_status"]) == ("2025-06-15T15:10:40.000000+00:00", "completed")


def test_skip_sees_a_run_under_way(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, every=60)
    clock.turn(60)
    assert fire(queue) == 1
    worker = Worker(queue)
    claimed = worker._claim_job()
    assert claimed is not None
    clock.turn(60)
    assert fire(queue) == 0
    worker.close()


@pytest.mark.parametrize("function", [jobs.nothing, jobs.fail])
def test_queue_lets_one_run_after_the_other_however_it_ends(
    queue: JobQueue, clock: TurnedClock, function: Callable[..., Any]
) -> None:
    queue.schedule("s", function, every=60, overlap="queue", max_attempts=1)
    for _ in range(3):
        clock.turn(60)
        assert fire(queue) == 1
    made = list(reversed(queue.list_jobs()))
    assert [job["parents_left"] for job in made] == [0, 1, 1]
    assert [job["dependencies"] for job in made[1:]] == [[made[0]["id"]], [made[1]["id"]]]
    worker = Worker(queue)
    for job in made:
        assert worker._queue._store.peek().ready
        assert worker.process_one()
        assert queue.get_status(job["id"])["status"] != "pending"
    worker.close()
    clock.turn(60)
    assert fire(queue) == 1
    assert queue.list_jobs()[0]["dependencies"] == []


def test_queue_goes_on_when_the_last_job_was_cancelled_or_cleared(
    queue: JobQueue, clock: TurnedClock
) -> None:
    queue.schedule("s", jobs.nothing, every=60, overlap="queue")
    clock.turn(60)
    fire(queue)
    assert queue.cancel(queue.list_jobs()[0]["id"])
    clock.turn(60)
    fire(queue)
    drain(queue)
    assert queue.clear_completed() == 2
    clock.turn(60)
    assert fire(queue) == 1
    assert queue.list_jobs()[0]["parents_left"] == 0


def test_allow_lets_them_run_side_by_side(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, every=60, overlap="allow")
    for _ in range(3):
        clock.turn(60)
        assert fire(queue) == 1
    assert [job["parents_left"] for job in queue.list_jobs()] == [0, 0, 0]


# -- at run time -----------------------------------------------------------------------------------------------


def test_a_paused_schedule_rests_and_its_ticks_are_not_made_good(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, cron="*/10 * * * *", misfire="all")
    assert (queue.pause_schedule("s"), queue.pause_schedule("s")) == (True, False)
    assert (shown(queue)["paused"], shown(queue)["next_ticks"]) == (True, [])
    clock.turn(3600)
    assert fire(queue) == 0
    assert (queue.resume_schedule("s"), queue.resume_schedule("s")) == (True, False)
    assert shown(queue)["next_at"] == "2025-06-15T16:10:00.000000+00:00"
    clock.turn(600)
    assert fire(queue) == 1


def test_an_unknown_name_is_told(queue: JobQueue) -> None:
    assert not queue.pause_schedule("x")
    assert not queue.resume_schedule("x")
    assert not queue.unschedule("x")
    for ask in (lambda: queue.run_schedule("x"), lambda: queue.backfill("x", "2025-01-01")):
        with pytest.raises(InvalidSchedule, match="there is no schedule named 'x'"):
            ask()


def test_a_removed_schedule_makes_no_job_and_leaves_those_it_made(
    queue: JobQueue, clock: TurnedClock
) -> None:
    queue.schedule("s", jobs.nothing, every=60)
    clock.turn(60)
    assert fire(queue) == 1
    assert (queue.unschedule("s"), queue.unschedule("s")) == (True, False)
    clock.turn(60)
    assert fire(queue) == 0
    assert (queue.schedules(), queue.stats()["pending"]) == ([], 1)


def test_a_run_by_hand_has_a_tick_of_its_own_and_waits_for_the_last_job(
    queue: JobQueue, clock: TurnedClock
) -> None:
    queue.schedule("s", jobs.my_tick, every=60)
    queue.pause_schedule("s")
    first, second = queue.run_schedule("s"), queue.run_schedule("s")
    assert queue.get_status(first)["tick"] == NOW
    assert queue.get_status(second)["tick"] == NOW.replace(".000000", ".000001")
    assert queue.get_status(second)["dependencies"] == [first]
    queue.resume_schedule("s")
    clock.turn(60)
    assert fire(queue) == 0, "the last job has not ended"
    drain(queue)
    assert queue.get_status(second)["result"] == "2025-06-15T15:06:40.000001+00:00"


def test_backfill_makes_the_jobs_that_past_ticks_have_not(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, cron="0 * * * *", start="2025-06-15T15:00Z", timezone="Europe/Berlin")
    clock.turn(3600)
    assert fire(queue) == 1
    assert queue.backfill("s", "2025-06-15T15:00") == 3, "in the zone of the schedule, until now"
    assert queue.backfill("s", "2025-06-15T12:30:00+00:00", "2025-06-15T14:00:00+00:00") == 0
    assert sorted(ticks(queue)) == at("13:00:00", "14:00:00", "15:00:00", "16:00:00")
    made = list(reversed(queue.list_jobs()))
    assert [job["dependencies"] for job in made] == [[], *[[job["id"]] for job in made[:3]]]
    drain(queue)
    assert queue.stats()["completed"] == 4


def test_a_long_backfill_goes_in_pieces(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.schedule("s", jobs.nothing, every=60, overlap="allow")
    add, sizes = queue._store.add_ticks, []

    def counting(row: Any, made: list[Any], now: int) -> Any:
        sizes.append(len(made))
        return add(row, made, now)

    monkeypatch.setattr(queue._store, "add_ticks", counting)
    assert queue.backfill("s", "2025-06-15T00:00Z") == sum(sizes) == 907
    assert sizes == [500, 407]
    assert len(set(ticks(queue))) == 907


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("2025-06-15T00:00Z", "2025-06-14T00:00Z", "end: .* is before start"),
        ("2025-07-01T00:00Z", None, "end: now is before start"),
        ("2025-06-15T00:00Z", "2025-07-01T00:00Z", "end: .* is in the future"),
        ("yesterday", None, "start: a datetime, or text"),
        ("2025-06-15T00:00Z", "soon", "end: a datetime, or text"),
    ],
)
def test_a_backfill_of_no_range_is_refused(queue: JobQueue, start: str, end: str | None, told: str) -> None:
    queue.schedule("s", jobs.nothing, every=60)
    with pytest.raises(InvalidSchedule, match=told):
        queue.backfill("s", start, end)
    assert queue.stats()["total"] == 0


# -- what goes wrong -------------------------------------------------------------------------------------------


def test_a_zone_that_this_worker_does_not_know_stops_only_its_own_schedule(
    queue: JobQueue, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue.schedule("bad", jobs.nothing, cron="* * * * *", timezone="Asia/Tokyo")
    queue.schedule("good", jobs.nothing, cron="* * * * *")
    known = crontab.zone_of

    def missing(name: str) -> Any:
        if name == "Asia/Tokyo":
            raise InvalidSchedule(f"timezone: {name} is not here")
        return known(name)

    crontab.after.cache_clear()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(crontab, "zone_of", missing)
        clock.turn(30)
        assert fire(queue) == 1
        bad = shown(queue, "bad")
        assert (bad["error"], bad["last_job"], bad["next_ticks"]) == (
            "timezone: Asia/Tokyo is not here",
            None,
            ["2025-06-15T15:07:00.000000+00:00"],
        )
        assert bad["error_at"] == to_iso(clock.now())
        assert "Schedule bad: no job could be made" in caplog.text
        assert fire(queue) == 0, "it is tried again in a minute"
        assert shown(queue, "good")["error"] is None
    clock.turn(60)
    assert fire(queue) >= 1
    assert (shown(queue, "bad")["error"], shown(queue, "bad")["last_job_status"]) == (None, "pending")


def test_a_job_that_the_database_refuses_stops_only_its_own_schedule(
    queue: JobQueue, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        queue.schedule(name, jobs.echo, every=60, params={"value": name})
    clock.turn(60)
    run = Transaction.run

    def refuse(self: Transaction, name: str, /, **values: Any) -> int:
        if name == "mark_ticks" and '"b"' in values["ticks"]:
            raise InvalidJob("this one is not wanted")
        return run(self, name, **values)

    with monkeypatch.context() as refusing:
        refusing.setattr(Transaction, "run", refuse)
        assert fire(queue) == 2
    assert [row["error"] for row in queue.schedules()] == [None, "this one is not wanted", None]
    assert sorted(job["schedule"] for job in queue.list_jobs()) == ["a", "c"]
    clock.turn(60)
    drain(queue)
    assert [job["schedule"] for job in queue.list_jobs()].count("b") == 1
    assert shown(queue, "b")["error"] is None


def test_a_job_that_a_newer_gigq_has_declared_is_told(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", jobs.nothing, every=60)
    with queue._store._writing() as tx:
        tx._execute("UPDATE schedule SET job = json_set(job, '$.priority', 'high')")
    clock.turn(60)
    assert fire(queue) == 0
    assert "its job cannot be read: " in shown(queue)["error"]


def test_a_function_that_cannot_be_found_shows_as_the_error(queue: JobQueue, clock: TurnedClock) -> None:
    queue.schedule("s", "no_such_module.run", every=60)
    clock.turn(60)
    drain(queue)
    row = shown(queue)
    assert (row["task"], row["last_job_status"]) == ("no_such_module.run", "pending")
    assert "no_such_module" in row["error"]


def test_a_firing_that_is_cut_off_leaves_nothing(
    queue: JobQueue, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.schedule("s", jobs.nothing, every=60)
    clock.turn(60)
    run = Transaction.run

    def die(self: Transaction, name: str, /, **values: Any) -> int:
        if name == "advance_schedules":
            raise KeyboardInterrupt
        return run(self, name, **values)

    with monkeypatch.context() as dying:
        dying.setattr(Transaction, "run", die)
        with pytest.raises(KeyboardInterrupt):
            fire(queue)
    assert queue.stats()["total"] == 0
    assert fire(queue) == 1


# -- many schedules, many workers ------------------------------------------------------------------------------


def test_many_that_are_due_at_once_are_fired_in_pieces(queue: JobQueue, clock: TurnedClock) -> None:
    for n in range(450):
        queue.schedule(f"s{n}", jobs.nothing, cron="* * * * *")
    clock.turn(60)
    pieces = []
    while (made := schedules.fire(queue._store, clock)[0]) > 0:
        pieces.append(made)
    assert pieces == [200, 200, 50]


def test_whoever_has_read_a_schedule_that_was_fired_or_changed_since_does_nothing(
    queue: JobQueue, clock: TurnedClock
) -> None:
    store = queue._store
    queue.schedule("fired", jobs.nothing, every=60)
    queue.schedule("changed", jobs.nothing, every=60)
    queue.schedule("paused", jobs.nothing, every=60)
    clock.turn(60)
    now = clock.now()
    read = [schedules._plan_one(row, now) for row in store.schedules_due(now, 10)]
    store.fire([one for one in read if one.row.name == "fired"], now)
    queue.schedule("changed", jobs.echo, every=60)
    queue.pause_schedule("paused")
    assert store.fire(read, now) == []
    assert [job["schedule"] for job in queue.list_jobs()] == ["fired"]


def test_threads_that_look_at_once_make_one_job_a_tick(db: str, clock: TurnedClock) -> None:
    queue = JobQueue(db, clock=clock)
    for n in range(20):
        queue.schedule(f"s{n}", jobs.nothing, every=10, overlap="allow")
    line = threading.Barrier(4)
    made: list[int] = []

    def look() -> None:
        for _ in range(5):
            if line.wait(60) == 0:
                clock.turn(10)
            line.wait(60)
            made.append(fire(JobQueue(db, clock=clock)))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(made) == 100
    pairs = [(job["schedule"], job["tick"]) for job in queue.list_jobs(limit=1000)]
    assert len(set(pairs)) == len(pairs) == 100


_WORKER = """
import sys
from gigq import Worker
Worker(sys.argv[1], polling_interval=1000).start()
"""


def test_workers_that_are_killed_in_the_middle_leave_no_tick_out_and_double_none(
    db: str, tmp_path: Path
) -> None:
    queue = JobQueue(db)
    queue.schedule("s", jobs.nothing, every=0.1, misfire="all", overlap="allow")
    workers = [start(_WORKER, db, cwd=tmp_path) for _ in range(2)]
    for n in range(2):
        reached = queue.stats()["total"] + 5
        wait_until(lambda reached=reached: queue.stats()["total"] >= reached, "some ticks")  # type: ignore[misc]
        workers[n].kill()
        workers[n].communicate()
        workers[n] = start(_WORKER, db, cwd=tmp_path)
    reached = queue.stats()["total"] + 5
    wait_until(lambda: queue.stats()["total"] >= reached, "those who came later go on")
    for worker in workers:
        worker.terminate()
        worker.communicate()
    moments = sorted(from_iso(job["tick"]) for job in queue.list_jobs(limit=10_000))
    assert moments == list(range(moments[0], moments[-1] + 1, SECOND // 10))
    assert len(set(moments)) == len(moments)
