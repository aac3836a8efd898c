"""Puts together what runs a worker's jobs: threads of this process, or child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Literal, NamedTuple

from gigq import log
from gigq.errors import InvalidJob, ParentResultsTooLarge, StoreError, StoreReplaced
from gigq.lease import Lease
from gigq.worker import wire
from gigq.worker.calls import Call
from gigq.worker.desk import Desk
from gigq.worker.executors.dealing import CALLS
from gigq.worker.executors.processes import Processes
from gigq.worker.executors.threads import AHEAD, Threads
from gigq.worker.lanes import Lanes
from gigq.worker.pace import Pace

ExecutorName = Literal["thread", "process"]
EXECUTORS: tuple[ExecutorName, ...] = ("thread", "process")

_GIVEN = 64 * 1024
"""Bytes of parents' results that travel with a call; more is asked for by the child."""


class Options(NamedTuple):
    """How a worker runs its jobs; see :class:`gigq.Worker`."""

    executor: ExecutorName = "thread"
    async_slots: int = 100
    kill_grace: float = 2.0
    max_jobs_per_child: int | None = None
    max_memory: int | None = None
    imports: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            InvalidJob: naming the option.
        """
        if self.executor not in EXECUTORS:
            raise InvalidJob(f"executor: one of {', '.join(EXECUTORS)}, not {self.executor!r}")
        if self.executor == "process" and os.name != "posix":
            raise InvalidJob("executor: child processes need a POSIX system; use executor='thread' here")
        for name, number in (
            ("async_slots", self.async_slots),
            ("max_jobs_per_child", self.max_jobs_per_child),
        ):
            if number is not None and not (_is_whole(number) and number >= 1):
                raise InvalidJob(f"{name}: a whole number of at least 1, not {number!r}")
        if self.max_memory is not None and not (_is_whole(self.max_memory) and self.max_memory >= 1_000_000):
            raise InvalidJob(f"max_memory: bytes, at least 1,000,000, or None, not {self.max_memory!r}")
        grace = self.kill_grace
        if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace < 1e6:
            raise InvalidJob(f"kill_grace: seconds from 0 up, not {grace!r}")


def threads(desk: Desk, concurrency: int, wake: Callable[[], None]) -> tuple[Threads, Lanes]:
    """Threads of this process, and what there is room for in them."""

    def tell_stopping() -> None:
        desk.is_stopping = True

    executor = Threads(concurrency, desk.runner(), desk.notes, wake, tell_stopping)
    return executor, Lanes(Pace(concurrency, concurrency + AHEAD), None)


def processes(desk: Desk, concurrency: int, options: Options) -> tuple[Processes, Lanes]:
    """Child processes, and what there is room for in them.

    Raises:
        WorkerFailed: they cannot be started.
    """
    marks = desk.seat().share_marks()
    assert marks.place is not None  # noqa: S101 - that is what sharing means
    setup = wire.Setup(
        sys_path=list(sys.path),
        argv=list(sys.argv),
        imports=list(options.imports),
        marks_path=marks.place.path,
        marks_offset=marks.place.offset,
        max_result=desk.max_result,
        max_params=desk.max_params,
        async_slots=options.async_slots,
        tells_starts=log.worker.isEnabledFor(20),
    )
    pace = Pace(concurrency, concurrency * CALLS + CALLS)  # what an exchange brings need not wait for a child
    coroutine_pace = Pace(concurrency * options.async_slots, concurrency * CALLS)
    executor = Processes(
        concurrency,
        setup,
        marks,
        pace,
        coroutine_pace,
        answer=_Answers(desk),
        tell_started=desk.started,
        given_parents=lambda leases: _given_parents(desk, leases),
        kill_grace=options.kill_grace,
        max_jobs=options.max_jobs_per_child,
        max_memory=options.max_memory,
    )
    return executor, Lanes(pace, coroutine_pace)


class _Answers:
    """Answers what a call asks for that did not travel with it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __call__(self, call: Call, ask: wire.Ask) -> wire.Answer:
        answer = wire.Answer(ask.slot, None, None, None, None)
        try:
            if ask.what == "params":
                answer.params = self._desk.params(call)
            elif ask.what == "room":
                answer.room = self._desk.room_to_grow(call, ask.ids)
            else:
                answer.parents = list(self._desk.parents(call, ask.limit))
        except (ParentResultsTooLarge, InvalidJob) as error:
            answer.refusal, answer.kind = str(error), type(error).__name__
        except StoreReplaced:
            raise
        except StoreError as error:
            answer.trouble = str(error)
        return answer


def _given_parents(desk: Desk, leases: list[Lease]) -> dict[int, list[wire.ParentRow]]:
    wanting = [lease.seq for lease in leases if lease.parents and lease.wants_parents]
    if not wanting:
        return {}
    given: dict[int, list[wire.ParentRow]] = {}
    try:
        parents = desk.store.parents(wanting, _GIVEN)[1]
    except StoreReplaced:
        raise
    except StoreError:
        return {}  # the children ask, and are told
    for parent in parents:
        given.setdefault(parent.child, []).append((parent.id, parent.status, parent.result, parent.error))
    return given


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
