"""The coroutines of a child: so many at once on one loop, the others in line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Generic, TypeVar

from gigq.worker.coroutines import Coroutines, Job, enter_family
from gigq.worker.runner import Ended, Run, Runner

R = TypeVar("R", bound=Run)


class Lane(Generic[R]):
    """Runs coroutine jobs, at most ``slots`` at once; its methods may be called in any thread."""

    def __init__(self, slots: int, runner: Runner[R], deliver: Callable[[R, Ended], None]) -> None:
        """Args:
        slots: how many run at once.
        runner: begins and finishes them.
        deliver: told how each ended, in the loop's thread.
        """
        self._slots = slots
        self._runner = runner
        self._deliver = deliver
        self._coroutines = Coroutines()
        self._waiting: deque[R] = deque()
        self._running = 0

    def add(self, runs: list[R]) -> None:
        self._waiting.extend(runs)
        self._coroutines.soon(self._fill)

    def recall(self) -> list[R]:
        """Take back those that have not started."""
        taken: list[R] = []
        try:
            while True:
                taken.append(self._waiting.pop())
        except IndexError:
            return taken

    def take(self, run: R) -> bool:
        """Take back one, if it has not started."""
        try:
            self._waiting.remove(run)
        except ValueError:
            return False
        return True

    def stop(self, run: R) -> None:
        """Cancel one that has started."""

        def cancel() -> None:
            if run.cancel is not None:
                run.cancel()

        self._coroutines.soon(cancel)

    def is_idle(self) -> bool:
        return not self._waiting and not self._running

    def _fill(self) -> None:
        while self._running < self._slots:
            try:
                run = self._waiting.popleft()
            except IndexError:
                return
            self._running += 1
            self._start(run)

    def _start(self, run: R) -> None:
        context = copy_context()
        enter_family(context)
        begun = context.run(self._runner.begin, run)
        if isinstance(begun, Ended):
            self._end(run, begun)
        else:
            run.cancel = self._coroutines.start(begun, context, partial(self._job_ended, run, context)).cancel

    def _job_ended(self, run: R, context: Context, job: Job) -> None:
        run.cancel = None
        self._end(run, context.run(self._runner.finish, run, job.result, job.leftover))
        self._fill()

    def _end(self, run: R, ended: Ended) -> None:
        self._running -= 1
        self._deliver(run, ended)
