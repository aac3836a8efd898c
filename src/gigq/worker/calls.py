"""One call of a job's function: from a lease to an outcome. It never raises, whatever the function does."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from types import CoroutineType
from typing import Any

from gigq import binding, callables, codec, log
from gigq.clock import Clock
from gigq.errors import FunctionUnavailable, InvalidValue, ParentResultsTooLarge
from gigq.ids import mark_key
from gigq.status import End
from gigq.store.base import Parent
from gigq.store.rows import Lease
from gigq.store.sidecar import Marks
from gigq.worker import context

MAX_PARENT_RESULTS = 64 * 1024 * 1024
"""Bytes of parents' results that are handed over in one piece."""
_LONGEST_ERROR = 64 * 1024
_LONGEST_REPR = 100 * 1024


class Call:
    """A claimed run on its way through an executor."""

    __slots__ = ("abandoned", "cancel", "finished", "key", "lease", "slot", "started")

    def __init__(self, lease: Lease, slot: int) -> None:
        self.lease = lease
        self.slot = slot
        self.key = mark_key(lease.lease)
        self.started = 0
        """Monotonic nanoseconds; 0 before the start."""
        self.cancel: Callable[[], object] | None = None
        """Cancels the coroutine that is running, from any thread."""
        self.finished = False
        self.abandoned = False
        """Settled as a timeout while its thread went on."""


class Outcome:
    """How a call ended."""

    __slots__ = ("call", "end", "ended", "error", "result", "value")

    def __init__(
        self,
        call: Call,
        end: End,
        ended: int,
        result: str | None = None,
        error: str | None = None,
        value: Any = None,
    ) -> None:
        self.call = call
        self.end = end
        self.ended = ended
        """Monotonic nanoseconds."""
        self.result = result
        self.error = error
        self.value = value


class Runner:
    """Runs calls for one worker, in whatever thread."""

    def __init__(
        self,
        worker_id: str,
        marks: Marks,
        clock: Clock,
        load: Callable[[str, str, str | None], Callable[..., Any]],
        parents: Callable[[Lease, int], list[Parent]],
        params: Callable[[Lease], str],
        max_result: int,
    ) -> None:
        """Args:
        worker_id: for the log.
        marks: where starts are noted.
        clock: the time.
        load: the function of a reference (module, name, script).
        parents: the parents of a job; raises ParentResultsTooLarge above a number of bytes.
        params: those of a job that were too large to come with its lease.
        max_result: bytes of JSON that a result may take.
        """
        self._worker_id = worker_id
        self._marks = marks
        self._monotonic = clock.monotonic
        self._load = load
        self._parents = parents
        self._params = params
        self._max_result = max_result
        self._functions: dict[tuple[str, str, str | None], Callable[..., Any]] = {}

    def run(self, call: Call) -> Outcome:
        """Call the function, and say how it ended.

        Raises:
            KeyboardInterrupt: in the main thread, where it is the user's and not the job's.
        """
        lease = call.lease
        started = call.started = self._monotonic()
        self._marks.write(call.slot, call.key, started)
        token = None
        try:
            function = self._function(lease)
            if log.worker.isEnabledFor(20):
                log.started(lease.id, lease.name, lease.attempts + 1, self._worker_id)
            params = codec.decode(self._params(lease) if lease.params is None else lease.params)
            params = binding.bind(function, params)
            if lease.parents and self._wants_parents(lease, function):
                params["parent_results"] = self._parent_results(lease)
            token = context.enter(
                context.CurrentJob(
                    lease.id,
                    lease.name,
                    lease.attempts + 1,
                    params,
                    lambda: self._parents(lease, sys.maxsize),
                )
            )
            value = function(**params)
            if issubclass(type(value), CoroutineType):  # isinstance would ask the value, which may be hostile
                value = _wait_for(value, call)
            return self._returned(call, value)
        except FunctionUnavailable as error:
            return Outcome(call, "unavailable", self._monotonic(), error=str(error))
        except BaseException as error:
            if _is_the_users(error):
                raise
            return Outcome(call, "raised", self._monotonic(), error=describe(error))
        finally:
            self._marks.finish(call.slot, call.key)
            if token is not None:
                context.leave(token)

    def _function(self, lease: Lease) -> Callable[..., Any]:
        key = (lease.module, lease.function, lease.script)
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._load(*key)
        return function

    def _wants_parents(self, lease: Lease, function: Callable[..., Any]) -> bool:
        if lease.wants_parents is not None:
            return bool(lease.wants_parents)
        if lease.pass_parent_results is not None:
            return bool(lease.pass_parent_results)
        return callables.accepts_parent_results(function)

    def _parent_results(self, lease: Lease) -> dict[str, Any]:
        return {
            parent.id: codec.decode(parent.result) if parent.status == "completed" else None
            for parent in self._parents(lease, MAX_PARENT_RESULTS)
        }

    def _returned(self, call: Call, value: Any) -> Outcome:
        ended = self._monotonic()
        if value is None:
            return Outcome(call, "returned", ended)
        try:
            return Outcome(
                call, "returned", ended, result=codec.encode(value, "result", self._max_result), value=value
            )
        except InvalidValue as error:
            why = str(error)
        except BaseException as error:
            # The function did run: however its value resists, it must not run again.
            if _is_the_users(error):
                raise
            why = f"result: cannot be stored as JSON ({_name(type(error))})"
        return Outcome(call, "unstorable", ended, error=f"{why}\n\nThe function returned:\n{_shown(value)}")


def _wait_for(coroutine: Coroutine[Any, Any, Any], call: Call) -> Any:
    """Run a coroutine to its end, in a loop of its own, where it can be cancelled."""
    import asyncio

    async def cancellable() -> Any:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio.run made it
        call.cancel = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
        try:
            return await coroutine
        finally:
            call.cancel = None

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(cancellable())
    # The caller of process_one is inside a loop, as in a notebook: that thread cannot run another one.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "gigq-coroutine") as thread:
        return thread.submit(copy_context().run, asyncio.run, cancellable()).result()


def too_large(lease: Lease, size: int) -> ParentResultsTooLarge:
    return ParentResultsTooLarge(
        f"the results of the {lease.parents} parents of job {lease.id} take {size:,} bytes, over the limit of "
        f"{MAX_PARENT_RESULTS:,}. Submit it with pass_parent_results=False and read them one by one from "
        "gigq.current_job().parents."
    )


def describe(error: BaseException) -> str:
    """``ValueError: text``, then the traceback, without the frames of this package; capped, and safe to store.

    Whatever a hostile exception does when it is looked at, this returns.
    """
    text = f"{_first_line(error)}\n\n{_told(lambda: _traceback(error), 'its traceback')}"
    return storable(text[:_LONGEST_ERROR])[:_LONGEST_ERROR]


def _first_line(error: BaseException) -> str:
    kind = type(error)
    name = _told(lambda: f"{kind.__module__}.{_name(kind)}", "its name").removeprefix("builtins.")
    text = _told(lambda: str(error), "it")
    return f"{name}: {text}" if text else name


def _traceback(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename == __file__:
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))


def _told(tell: Callable[[], str], what: str) -> str:
    try:
        return str.__str__(tell())  # a subclass of str would go on being hostile
    except BaseException as worse:  # noqa: BLE001 - it must not end the worker
        return f"({what} cannot be shown: {_name(type(worse))})"


def _name(kind: type) -> str:
    """Without asking its metaclass."""
    name: str = type.__dict__["__qualname__"].__get__(kind)
    return name


def storable(text: str) -> str:
    """Text that every engine stores: no lone surrogates, no NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _shown(value: Any) -> str:
    return storable(_told(lambda: repr(value), "it")[:_LONGEST_REPR])[:_LONGEST_REPR]


def _is_the_users(error: BaseException) -> bool:
    """Whether it is Ctrl-C, which in the main thread is the user's and not the job's."""
    if not issubclass(type(error), KeyboardInterrupt):
        return False
    import threading

    return threading.current_thread() is threading.main_thread()
