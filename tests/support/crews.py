"""Workers with child processes, in a thread of the test, and what becomes of their jobs."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import PATIENCE, wait_until

from gigq import JobQueue, Worker, codec
from gigq.lease import Lease
from gigq.marks import AREA, Place, open_marks
from gigq.worker import wire
from gigq.worker.calls import Call
from gigq.worker.executors.dealing import CALLS
from gigq.worker.executors.processes import Processes
from gigq.worker.pace import Pace

ENDS = ("completed", "failed", "cancelled", "timeout")


@contextmanager
def working(path: Any, **options: Any) -> Iterator[Worker]:
    """A worker with child processes; it must end well."""
    worker = Worker(path, executor="process", **options)
    failed: list[BaseException] = []

    def work_on() -> None:
        try:
            worker.start()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work_on, name="worker")
    thread.start()
    try:
        yield worker
        assert thread.is_alive() or not failed, f"the worker has ended by itself: {failed}"
    finally:
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the worker does not end"
    if failed:
        raise failed[0]


def ended(queue: JobQueue, job: str, *statuses: str) -> dict[str, Any]:
    """The job, once it has one of these statuses (by default an end)."""
    wanted = statuses or ENDS
    wait_until(lambda: queue.get_status(job)["status"] in wanted, f"{job} to be {wanted}")
    return queue.get_status(job)


def runs_of(record: dict[str, Any]) -> list[str]:
    """The words of its history."""
    return [run["status"] for run in record["executions"]]


class Crew:
    """The executor with real children and without a database: every call and every end is the test's own."""

    def __init__(self, folder: Path, count: int, **options: Any) -> None:
        path = folder / "marks"
        path.write_bytes(bytes(AREA))
        self.marks = open_marks(Place(str(path), 0))
        self.number = 0
        self.ended: list[Call] = []
        slots = options.pop("async_slots", 100)
        setup = wire.Setup(list(sys.path), list(sys.argv), [], str(path), 0, codec.MAX_RESULT, slots, False)
        self.executor = Processes(
            count,
            setup,
            self.marks,
            Pace(count, count * CALLS),
            Pace(count * slots, count * CALLS),
            answer=lambda call, ask: wire.Answer(ask.slot, "{}", [], None, None),
            tell_started=lambda call: None,
            given_parents=lambda leases: {},
            **{"kill_grace": 0.2, "max_jobs": None, "max_memory": None, **options},
        )

    def call(self, function: Any, params: str = "{}", **facts: Any) -> Call:
        """A call that is dispatched nowhere yet."""
        self.number += 1
        lease = Lease(
            **{
                **_FACTS,
                "seq": self.number,
                "id": f"job-{self.number}",
                "execution_id": f"{self.number:016x}-{self.number}",
                "module": function.__module__,
                "function": function.__qualname__,
                "params": params,
                **facts,
            }
        )
        made = Call(lease, self.number)
        made.is_async = inspect.iscoroutinefunction(function)
        return made

    def dispatch(self, *calls: Call) -> None:
        self.executor.dispatch(list(calls))

    def look(self) -> list[Call]:
        """Everything that has ended so far, the newest collected now."""
        self.ended += self.executor.collect()
        return self.ended

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Go on collecting until something is so."""

        def met() -> bool:
            self.look()
            return bool(condition())

        wait_until(met, what)

    def until_ended(self, *calls: Call) -> None:
        self.until(lambda: all(call in self.ended for call in calls), "the calls have ended")

    def until_started(self, *calls: Call) -> None:
        self.until(lambda: all(self.has_started(call) for call in calls), "the calls have started")

    def has_started(self, call: Call) -> bool:
        return self.marks.of(call.slot, call.key) is not None

    def close(self) -> None:
        self.executor.close()
        self.marks.close()


_FACTS: dict[str, Any] = {
    "queue": "default",
    "name": "a call",
    "tick": None,
    "script": None,
    "priority": 0,
    "attempts": 0,
    "crashes": 0,
    "runs": 0,
    "max_attempts": 3,
    "max_crashes": 3,
    "timeout": None,
    "retry_delay": 0,
    "parents": 0,
    "pass_parent_results": None,
    "wants_parents": 0,
    "worker": 1,
    "claimed_at": None,
    "is_async": None,
    "retry": None,
    "deadline_at": None,
    "line": None,
}
