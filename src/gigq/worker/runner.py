"""Runs the function of a call, in whatever thread or child, and says how it ended. It never raises."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from gigq import binding, callables, codec
from gigq.clock import Clock
from gigq.control import Control
from gigq.errors import FunctionUnavailable, InvalidValue, StoreError
from gigq.lease import START_WITHIN, Lease
from gigq.marks import Marks
from gigq.status import End
from gigq.worker import context, describe
from gigq.worker.notes import Notes, Progress
from gigq.worker.verdicts import Judge

if TYPE_CHECKING:
    from gigq.newjob import NewJob
    from gigq.worker.growing import Growth

MAX_PARENT_RESULTS = 64 * 1024 * 1024
"""Bytes of parents' results that are handed over in one piece."""

ParentRows = Iterable[tuple[str, str | None, str | None, str | None]]


class Run(Protocol):
    """A run under way, as its process holds it."""

    slot: int
    started: int
    cancel: Callable[[], object] | None
    inside: bool
    """Whether an exception that asks it to stop may be raised in it now."""
    grown: list[NewJob] | None
    """What it has added to its graph."""

    @property
    def asked(self) -> object:
        """True, or why, once it was asked to stop."""

    @property
    def key(self) -> bytes: ...
    @property
    def facts(self) -> Lease: ...


R = TypeVar("R", bound=Run)
R_contra = TypeVar("R_contra", bound=Run, contravariant=True)


class Office(Protocol[R_contra]):
    """Whom runs turn to for what they need, and with what they have to say."""

    @property
    def max_params(self) -> int:
        """Bytes of JSON that the params of a job may take which is added."""

    def started(self, run: R_contra) -> None: ...
    def load(self, module: str, name: str, script: str | None) -> Callable[..., Any]: ...
    def params(self, run: R_contra) -> str:
        """Those that were too large to come with the call."""

    def parents(self, run: R_contra, limit: int) -> ParentRows:
        """Raises ParentResultsTooLarge above so many bytes."""

    def is_asked_to_stop(self, run: R_contra) -> bool: ...
    def room_to_grow(self, run: R_contra, parents: list[str]) -> int:
        """How many jobs wait for it. Raises InvalidJob for parents (ids) that a job which it adds cannot have."""


class _NotNow(Exception):
    """What a function needs cannot be read now: it has not begun, and is not to be charged."""


class _TooLate(Exception):
    """It was claimed too long ago for what its limits have noted of its start."""


class Ended(NamedTuple):
    """How a function ended."""

    end: End
    ended: int
    """Monotonic nanoseconds."""
    result: str | None = None
    error: str | None = None
    value: Any = None
    delay: int | None = None
    """Microseconds until the job runs again, where it says so itself."""
    backs_off: str | None = None
    """See control.Control."""


class Runner(Generic[R]):
    """Runs calls; safe in several threads at once."""

    def __init__(
        self,
        office: Office[R],
        marks: Marks,
        clock: Clock,
        notes: Notes[R],
        max_result: int,
        *,
        ctrl_c: bool = True,
    ) -> None:
        """Args:
        office: for what is needed and said.
        marks: where starts are noted.
        clock: where the time is read.
        notes: where output and progress go.
        max_result: bytes of JSON that a result may take.
        ctrl_c: whether a KeyboardInterrupt in the main thread is the user's, and not the job's.
        """
        self._office = office
        self._marks = marks
        self._monotonic = clock.monotonic
        self._now = clock.now
        self._notes = notes
        self._max_result = max_result
        self._ctrl_c = ctrl_c
        self._functions: dict[tuple[str, str, str | None], Callable[..., Any]] = {}

    def run(self, run: R, wait: Callable[[Coroutine[Any, Any, Any], R], Any]) -> Ended:
        """Call the function, and say how it ended.

        Args:
            run: what to run.
            wait: runs a coroutine to its end, if the function made one.

        Raises:
            KeyboardInterrupt: in the main thread, where it is the user's and not the job's.
        """
        token = None
        try:
            try:
                run.inside = True
                function, params = self._prepare(run)
                token = context.enter(context.CurrentJob(run.facts, params, run, self))
                value = function(**params)
                # isinstance would ask the value, which may be hostile
                if issubclass(type(value), CoroutineType):
                    value = wait(value, run)
            finally:
                run.inside = False
            return self._returned(value)
        except BaseException as error:
            if self._is_the_users(error):
                raise
            return self._raised(error, run)
        finally:
            self._marks.finish(run.slot, run.key)
            if token is not None:
                context.leave(token)

    def begin(self, run: R) -> Ended | Coroutine[Any, Any, Any]:
        """Call a coroutine function, in the context that its coroutine will run in; :meth:`finish` ends what it began.

        Returns:
            The coroutine; or how it ended, if there is none.
        """
        try:
            function, params = self._prepare(run)
            context.enter(context.CurrentJob(run.facts, params, run, self))
            value = function(**params)
            if issubclass(type(value), CoroutineType):
                return value  # type: ignore[no-any-return]
            ended = self._returned(value)
        except BaseException as error:  # noqa: BLE001 - on a loop's thread, where nothing is the user's
            ended = self._raised(error, run)
        self._marks.finish(run.slot, run.key)
        return ended

    def finish(self, run: R, result: Callable[[], Any], leftover: list[str]) -> Ended:
        """How a coroutine ended: ``result`` returns its value or raises."""
        if leftover:
            told = f"gigq: tasks that were still running when the job ended were cancelled: {', '.join(leftover)}\n"
            self._notes.write(run, describe.storable(told))
        try:
            ended = self._returned(result())
        except BaseException as error:  # noqa: BLE001 - its own, whatever it is
            ended = self._raised(error, run)
        self._marks.finish(run.slot, run.key)
        return ended

    def _prepare(self, run: R) -> tuple[Callable[..., Any], dict[str, Any]]:
        facts = run.facts
        if facts.line is not None and self._now() > (facts.claimed_at or 0) + START_WITHIN:
            raise _TooLate
        started = run.started = self._monotonic()
        self._marks.write(run.slot, run.key, started)
        function = self._function(facts)
        self._office.started(run)
        wants_parents = facts.parents and _wants_parents(facts, function)
        parents: ParentRows = ()
        try:
            stored = self._office.params(run) if facts.params is None else facts.params
            if wants_parents:
                parents = self._office.parents(run, MAX_PARENT_RESULTS)
        except StoreError as error:
            raise _NotNow(str(error)) from error
        params = binding.bind(function, codec.decode(stored))
        if wants_parents:
            params["parent_results"] = {
                parent: codec.decode(result) if status == "completed" else None
                for parent, status, result, _ in parents
            }
        return function, params

    def _function(self, facts: Lease) -> Callable[..., Any]:
        key = (facts.module, facts.function, facts.script)
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._office.load(*key)
        return function

    # What a running job turns to; see context.Voice.

    def parents_of(self, run: R) -> ParentRows:
        return self._office.parents(run, sys.maxsize)

    def say(self, run: R, text: str) -> None:
        self._notes.write(run, text)

    def progress(self, run: R, progress: Progress) -> None:
        self._notes.progress(run, progress)

    def is_asked_to_stop(self, run: R) -> bool:
        return self._office.is_asked_to_stop(run)

    def growth(self, run: R) -> Growth:
        from gigq.worker.growing import Growth

        growth = Growth(run.facts.id, self._office.max_params, partial(self._office.room_to_grow, run))
        run.grown = growth.jobs
        return growth

    def _returned(self, value: Any) -> Ended:
        ended = self._monotonic()
        if value is None:
            return Ended("returned", ended)
        try:
            return Ended("returned", ended, codec.encode(value, "result", self._max_result), None, value)
        except InvalidValue as error:
            why = str(error)
        except BaseException as error:
            # The function did run: however its value resists, it must not run again.
            if self._is_the_users(error):
                raise
            why = f"result: cannot be stored as JSON ({describe.name(type(error))})"
        shown = describe.value(value)
        return Ended("unstorable", ended, error=f"{why}\n\nThe function returned:\n{shown}")

    def _raised(self, error: BaseException, run: R) -> Ended:
        if type(error) is _NotNow:
            return Ended("hindered", self._monotonic(), error=str(error))
        if type(error) is _TooLate:
            return Ended("unstarted", self._monotonic())
        if issubclass(type(error), FunctionUnavailable):
            return Ended("unavailable", self._monotonic(), error=str(error))
        ended = self._monotonic()
        if run.asked or (run.facts.retry is None and not issubclass(type(error), Control)):
            return Ended("raised", ended, error=describe.error(error))
        end, delay, note, backs_off = Judge(error, run.facts, self._is_the_users).verdict()
        told = describe.error(error) + note
        return Ended(end, ended, error=told, delay=delay, backs_off=backs_off)

    def _is_the_users(self, error: BaseException) -> bool:
        """Whether it is Ctrl-C, which in the main thread is the user's and not the job's."""
        if not self._ctrl_c or not issubclass(type(error), KeyboardInterrupt):
            return False
        import threading

        return threading.current_thread() is threading.main_thread()


def wait_in_own_loop(coroutine: Coroutine[Any, Any, Any], run: Run) -> Any:
    """Run a coroutine to its end in the calling thread, in a loop of its own, where it can be cancelled."""
    import asyncio

    async def cancellable() -> Any:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio.run made it
        run.cancel = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
        try:
            return await coroutine
        finally:
            run.cancel = None

    # Not in the handler of the error that asyncio has for this question: that would be in every traceback.
    if asyncio._get_running_loop() is None:
        return asyncio.run(cancellable())
    # The caller of process_one is inside a loop, as in a notebook: that thread cannot run another one.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "gigq-coroutine") as thread:
        return thread.submit(copy_context().run, asyncio.run, cancellable()).result()


def _wants_parents(facts: Lease, function: Callable[..., Any]) -> bool:
    if facts.wants_parents is not None:
        return bool(facts.wants_parents)
    if facts.pass_parent_results is not None:
        return bool(facts.pass_parent_results)
    return callables.accepts_parent_results(function)
