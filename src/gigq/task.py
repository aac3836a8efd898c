"""@task: a function that can be submitted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from gigq import schedule
from gigq.job import Job

if TYPE_CHECKING:
    from gigq.queue import JobQueue

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = (
    "name",
    "priority",
    "max_attempts",
    "timeout",
    "description",
    "retry_delay",
    "retry",
    "retry_on",
    "fail_on",
    "on_parent_failure",
    "max_crashes",
    "pass_parent_results",
    "queue",
    "run_at",
    "delay",
    "expires",
    "deadline",
    "unique_key",
    "unique",
    "tags",
    "metadata",
    "limit",
)
_INSTEAD = {"retry": "retry_delay", "retry_delay": "retry"}
"""Options of which a job has one or the other."""
_SCHEDULE = ("cron", "every", "timezone", "misfire", "catch_up", "overlap", "start", "end")


class TaskWrapper(Generic[P, R]):
    """A function with job options: callable as before, and submittable.

    Raises:
        TypeError: at decoration, for an unknown option or a function that no worker could find again.
        InvalidJob: at decoration, for an option with a value that cannot be accepted.
    """

    __wrapped__: Callable[P, R]
    __name__: str
    __qualname__: str

    def __init__(self, fn: Callable[P, R], **options: Any) -> None:
        known = (*_OPTIONS, *_SCHEDULE)
        unknown = [option for option in options if option not in known]
        if unknown:
            raise TypeError(f"@task: unexpected option {', '.join(unknown)}; it takes {', '.join(known)}")
        _refuse(fn)
        functools.update_wrapper(self, fn)
        self._gigq_function = fn
        self.declared = {option: options.pop(option) for option in _SCHEDULE if option in options}
        """The schedule it is declared with, as options of ``JobQueue.schedule``; empty for none."""
        self._options = {"name": fn.__name__, **options}
        self.to_job()  # a bad option is told where it is written, not at the first submit
        if self.declared:
            schedule.declared(**self.declared)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.__wrapped__(*args, **kwargs)

    if TYPE_CHECKING:
        # Type checkers look at the params; what is given by position is refused when it runs.
        def submit(self, queue: JobQueue, /, *args: P.args, **params: P.kwargs) -> str: ...

    else:

        def submit(self, queue: JobQueue, /, **params: Any) -> str:
            """
            Create a Job and submit it to the given queue.

            Args:
                queue: A JobQueue instance (positional-only).
                **params: Keyword arguments to pass to the wrapped function.

            Returns:
                The job ID.
            """
            return queue.submit(self.to_job(**params))

    def to_job(self, /, **params: Any) -> Job:
        """
        Create a Job from this decorated function without submitting it.

        Args:
            **params: Keyword arguments to pass to the wrapped function.

        Returns:
            A Job instance ready for submission or workflow use.
        """
        return Job(function=self.__wrapped__, params=params, **self._options)

    def using(self, **options: Any) -> TaskWrapper[P, R]:
        """
        The same task with other options: ``report.using(delay=60, queue="slow").submit(queue, year=2026)``.

        Args:
            **options: Job options; the others stay as they were given at decoration.

        Returns:
            A task of its own; this one is unchanged.

        Raises:
            TypeError: there is no such option.
            InvalidJob: its value cannot be accepted.
        """
        return TaskWrapper(self.__wrapped__, **{**self._options, **options})

    def with_options(self, params: dict[str, Any], options: dict[str, Any]) -> Job:
        """A job of this task in which ``options`` stand in place of what it declares."""
        kept = {
            option: value for option, value in self._options.items() if _INSTEAD.get(option) not in options
        }
        return Job(function=self.__wrapped__, params=params, **{**kept, **options})

    def __repr__(self) -> str:
        return f"<task {self.__module__}.{self.__qualname__}>"


@overload
def task(fn: Callable[P, R], **options: Any) -> TaskWrapper[P, R]: ...
@overload
def task(fn: None = None, **options: Any) -> Callable[[Callable[P, R]], TaskWrapper[P, R]]: ...
def task(
    fn: Callable[P, R] | None = None, **options: Any
) -> TaskWrapper[P, R] | Callable[[Callable[P, R]], TaskWrapper[P, R]]:
    """
    Decorator that turns a function into a submittable GigQ task.

    Can be used with or without arguments:

        @task
        def my_job(x):
            return x * 2

        @task(timeout=60, max_attempts=5)
        def my_job(x):
            return x * 2

    Job options (priority, max_attempts, timeout, description, name, retry_delay, retry, retry_on, fail_on,
    on_parent_failure, max_crashes, pass_parent_results, queue, run_at, delay, expires, deadline, unique_key, unique,
    tags, metadata, limit) are fixed at decoration time. Use .submit(queue, **params) to enqueue.

    ``cron`` or ``every``, with ``timezone``, ``misfire``, ``catch_up``, ``overlap``, ``start`` and ``end``, declare a
    schedule. It is stored by ``queue.schedule(my_job)``, or by ``gigq worker --import`` of its module.
    """
    if fn is not None:
        return TaskWrapper(fn, **options)

    def decorate(function: Callable[P, R]) -> TaskWrapper[P, R]:
        return TaskWrapper(function, **options)

    return decorate


def _refuse(fn: Any) -> None:
    """TypeError for what no worker could find, or run, by its name."""
    import inspect

    if isinstance(fn, TaskWrapper):
        raise TypeError(f"@task: {fn.__name__} is decorated twice; keep one @task")
    if not callable(fn):
        raise TypeError(f"@task: {type(fn).__name__} is not callable; decorate a function")
    qualname = getattr(fn, "__qualname__", None)
    if qualname is None or not hasattr(fn, "__name__") or not hasattr(fn, "__module__"):
        raise TypeError("@task: a named function is needed, not a callable object")
    if "<lambda>" in qualname:
        raise TypeError("@task: a lambda has no name a worker could import; define a function")
    if "<locals>" in qualname:
        raise TypeError(
            f"@task: {qualname} is a closure or nested function; move it to the top of its module"
        )
    if "." in qualname or inspect.isclass(fn):
        raise TypeError(
            f"@task: {qualname} is not a plain function (a method or a class); use a function of the module"
        )
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"@task: {qualname} is a generator function; return a list instead")
