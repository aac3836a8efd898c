"""Coroutine jobs: one event loop, in a thread of its own, for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context, ContextVar
from typing import Any

_family: ContextVar[set[asyncio.Task[Any]] | None] = ContextVar("gigq_family", default=None)
"""The tasks that the running job has started."""

_REPORTED = 5


class Coroutines:
    """An event loop that runs coroutines for jobs, each with a context of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(_make_task)  # type: ignore[arg-type] # typeshed has the newest signature only
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="gigq-coroutines", daemon=True)
        self._thread.start()

    def soon(self, call: Callable[[], object]) -> None:
        """Call it on the loop; from any thread.

        Raises:
            RuntimeError: the loop has been closed.
        """
        self._loop.call_soon_threadsafe(call)

    def start(
        self, coroutine: Coroutine[Any, Any, Any], context: Context, then: Callable[[Job], None]
    ) -> Job:
        """Begin one; on the loop only. ``then`` is called when it has ended, and what it left behind too."""
        return Job(self._loop, coroutine, context, then)

    def run(
        self,
        coroutine: Coroutine[Any, Any, Any],
        context: Context,
        started: Callable[[Callable[[], object]], None],
    ) -> Any:
        """Run one to its end and wait for it, in any other thread.

        Args:
            coroutine: what to run.
            context: the context it runs in.
            started: given a function that cancels it, from any thread.
        """
        ended: Future[Job] = Future()
        begun: Future[Job] = Future()
        self.soon(lambda: begun.set_result(self.start(coroutine, context, ended.set_result)))
        job = begun.result()
        started(lambda: self.soon(job.cancel))
        return ended.result().result()

    def close(self) -> None:
        """End the loop; what still runs on it is cancelled."""
        self._closing = True
        with contextlib.suppress(RuntimeError):
            self.soon(self._loop.stop)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            while not self._closing:
                # sys.exit() in a task that a job has started comes out here; it ends nobody else's.
                with contextlib.suppress(SystemExit, KeyboardInterrupt):
                    self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        finally:
            self._loop.close()


class Job:
    """A coroutine under way, with the tasks that it starts."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any],
        context: Context,
        then: Callable[[Job], None],
    ) -> None:
        self._context = context
        self._then = then
        self.leftover: list[str] = []
        """Names of the tasks that it left behind; they were cancelled."""
        # The factory sees no family yet in the context of the loop's thread, so the job itself is not a member.
        self._task: asyncio.Task[Any] = loop.create_task(_contained(coroutine), context=context)
        self._task.add_done_callback(self._ended)

    def cancel(self) -> None:
        self._task.cancel()

    def result(self) -> Any:
        """What it returned; raises what it raised."""
        value = self._task.result()
        if type(value) is _Escape:
            raise value.error
        return value

    def _ended(self, _task: asyncio.Task[Any]) -> None:
        family = self._context.get(_family)
        left = [task for task in family if not task.done()] if family else []
        if not left:
            self._then(self)
            return
        self.leftover = [task.get_name() for task in left[:_REPORTED]]
        self.leftover += [f"and {len(left) - _REPORTED} more"] * (len(left) > _REPORTED)
        for task in left:
            task.cancel()
        gone = asyncio.ensure_future(asyncio.wait(left, timeout=1.0))
        gone.add_done_callback(lambda _: self._then(self))


class _Escape:
    """An exception that asyncio would let end the whole loop."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        return _Escape(error)


def enter_family(context: Context) -> None:
    """Let the tasks that are started in a context be known as one job's."""
    context.run(_family.set, set())


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    family = _family.get()
    if family is not None:
        family.add(task)
        task.add_done_callback(family.discard)
    return task
