"""Job: what a caller declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gigq import ids, labels, limits, queues, timing
from gigq import retry as retrying
from gigq.callables import bare
from gigq.clock import SYSTEM, is_seconds, to_iso
from gigq.errors import InvalidJob
from gigq.limits import Limit
from gigq.status import MAX_CRASHES, PARENT_POLICIES, OnParentFailure
from gigq.unique import Unique, declared

_SEQUENCE = (list, tuple)


class Job:
    """
    Represents a job to be executed by the queue system.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any] | str,
        params: dict[str, Any] | None = None,
        priority: int = 0,
        dependencies: list[str] | None = None,
        max_attempts: int = 3,
        timeout: float | None = 300,
        description: str = "",
        pass_parent_results: bool | None = None,
        retry_delay: float = 0,
        *,
        on_parent_failure: OnParentFailure = "cancel",
        max_crashes: int = MAX_CRASHES,
        retry: retrying.Policy | None = None,
        retry_on: retrying.Errors | None = None,
        fail_on: retrying.Errors | None = None,
        queue: str = queues.DEFAULT,
        run_at: timing.Moment | None = None,
        delay: timing.Duration | None = None,
        expires: timing.Duration | timing.Moment | None = None,
        deadline: timing.Duration | timing.Moment | None = None,
        unique_key: str | None = None,
        unique: Unique | bool | None = None,
        tags: Iterable[str] | None = None,
        metadata: dict[str, Any] | None = None,
        limit: Limit | Sequence[Limit] | None = None,
    ) -> None:
        """
        Initialize a new job.

        Args:
            name: A name for the job.
            function: The function to execute: a function of a module or of the script, a ``@task``, or the text
                ``"module.function"``.
            params: Parameters to pass to the function.
            priority: Job priority (higher numbers executed first).
            dependencies: List of job IDs that must complete before this job runs.
            max_attempts: Maximum number of execution attempts. 1 means at most one start, ever.
            timeout: Maximum runtime in seconds before the job is considered hung; None for no limit.
            description: Optional description of the job.
            pass_parent_results: Whether the worker should inject a ``parent_results``
                argument when this job has dependencies; None decides by the function's signature.
            retry_delay: Seconds to wait before a failed attempt is repeated.
            on_parent_failure: What happens when a parent ends badly: ``"cancel"`` this job too, ``"run"`` it
                anyway (that parent's entry in ``parent_results`` is None), or ``"wait"``.
            max_crashes: How often its process may die under it before it is given up.
            retry: In place of ``retry_delay``: seconds; a list of seconds, one for each attempt and the last one for all
                others; ``Exponential(...)``; or a function of a module, ``(attempt, error) -> seconds``, None to give
                up. ``max_attempts`` goes on to say how often.
            retry_on: Exception classes (or their names); any other fails the job at once.
            fail_on: Exception classes (or their names) that fail it at once; they win over ``retry_on``.
            queue: Which queue it waits in; a worker serves all of them, or those that it names.
            run_at: Not before this moment: a datetime or ISO 8601 text, in local time if it has no offset.
            delay: Not before so long after it is submitted: seconds or a timedelta.
            expires: Never started from this moment on (a datetime or ISO 8601 text), or from so long after it is
                submitted (seconds or a timedelta); then it is cancelled.
            deadline: The same for its end, over all attempts and waits: from then on it is stopped, and not tried
                again; its status is timeout.
            unique_key: While a job with this text is pending or running, there is no other.
            unique: True for a key made from the function and the params; a :class:`Unique` says more.
            tags: Texts to find it by (:meth:`JobQueue.list_jobs`), at most 32 of at most 100 characters.
            metadata: What else is to be known of it, at most 16,000 bytes of JSON. The function does not get it.
            limit: What it shares with other jobs, and how much of that: one :class:`Limit`, or several.

        Raises:
            InvalidJob: naming the argument that cannot be accepted.
        """
        self.id = ids.job_id()
        self.name = name
        self.function = bare(function)
        self.params: dict[str, Any] = {} if params is None else params
        self.priority = priority
        self.dependencies: list[str] = [] if dependencies is None else dependencies
        self.max_attempts = max_attempts
        self.timeout = timeout
        self.description = description
        self.pass_parent_results = pass_parent_results
        self.retry_delay = retry_delay
        self.on_parent_failure = on_parent_failure
        self.max_crashes = max_crashes
        self.retry = retry
        self.retry_on = retry_on
        self.fail_on = fail_on
        self.queue = queue
        self.run_at = run_at
        self.delay = delay
        self.expires = expires
        self.deadline = deadline
        self.unique_key = unique_key
        self.unique = unique
        self.tags = tags
        self.metadata = metadata
        self.limit = limit
        self.created_at = to_iso(SYSTEM.now())
        self.check()

    def check(self) -> None:
        """Refuse what cannot be accepted; called at construction and again at submit.

        Raises:
            InvalidJob: naming the field.
        """
        self._check_text()
        self._check_numbers()
        if self.queue is not queues.DEFAULT:
            queues.check_name(self.queue, whose=self._named)
        timing.check(self)
        if not callable(self.function) and not (isinstance(self.function, str) and self.function):
            raise InvalidJob(
                f"{self._named}function: a function or the text 'module.function', not {self.function!r}"
            )
        if not isinstance(self.params, dict) or not _all_text(self.params):
            raise InvalidJob(f"{self._named}params: a dict of keyword arguments is needed")
        if not isinstance(self.dependencies, _SEQUENCE) or not _all_text(self.dependencies):
            raise InvalidJob(f"{self._named}dependencies: a list of job ids is needed")
        if self.pass_parent_results not in (None, True, False):
            raise InvalidJob(
                f"{self._named}pass_parent_results: True, False or None, not {self.pass_parent_results!r}"
            )
        if self.on_parent_failure not in PARENT_POLICIES:
            raise InvalidJob(
                f"{self._named}on_parent_failure: one of {', '.join(PARENT_POLICIES)}, not {self.on_parent_failure!r}"
            )
        if self.unique is not None or self.unique_key is not None:
            declared(self)
        if self.tags is not None or self.metadata is not None:
            self._check_labels()
        if self.limit is not None:
            limits.declared(self.limit, self._named)

    def _check_labels(self) -> None:
        try:
            labels.stored(self.tags, self.metadata)
        except InvalidJob as error:
            raise type(error)(f"{self._named}{error}") from error

    def _check_text(self) -> None:
        if self._is_plain_text():
            return
        if not isinstance(self.name, str) or not self.name:
            raise InvalidJob(f"name: text is needed, not {self.name!r}")
        for field in ("id", "name", "description", "created_at"):
            value = getattr(self, field)
            if field == "description" and value is None:
                continue
            empty = not value and field == "id"
            if not isinstance(value, str) or empty or "\x00" in value or not _encodable(value):
                raise InvalidJob(f"{self._named}{field}: text without NUL is needed, not {value!r:.100}")

    def _is_plain_text(self) -> bool:
        """Whether there is nothing to look at field by field, in a quarter of the time."""
        description = "" if self.description is None else self.description
        try:
            text = "".join((self.name, self.id, description, self.created_at))
        except TypeError:
            return False
        return bool(self.name and self.id) and text.isascii() and "\x00" not in text

    def _check_numbers(self) -> None:
        for field, least in (("max_attempts", 1), ("max_crashes", 1), ("priority", -(2**63))):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
                wanted = "a whole number" if field == "priority" else "a whole number of at least 1"
                raise InvalidJob(f"{self._named}{field}: {wanted} is needed, not {value!r}")
        if self.timeout is not None and not (is_seconds(self.timeout) and self.timeout > 0):
            raise InvalidJob(
                f"{self._named}timeout: seconds above 0, or None for no limit, not {self.timeout!r}"
            )
        if not is_seconds(self.retry_delay):
            raise InvalidJob(f"{self._named}retry_delay: seconds from 0 up, not {self.retry_delay!r}")
        self.retry_policy()

    def retry_policy(self) -> str | None:
        """What ``retry``, ``retry_on`` and ``fail_on`` say, as it is stored; None for nothing.

        Raises:
            InvalidJob: naming the field.
        """
        if self.retry is None and self.retry_on is None and self.fail_on is None:
            return None
        if self.retry is not None and self.retry_delay:
            raise InvalidJob(
                f"{self._named}retry: says how long to wait, and so does retry_delay; give one of them"
            )
        try:
            return retrying.stored(self.retry, self.retry_on, self.fail_on)
        except InvalidJob as error:
            raise InvalidJob(f"{self._named}{error}") from None

    @property
    def _named(self) -> str:
        return f"job {self.name!r}: " if isinstance(self.name, str) else ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.id}>"


def _all_text(values: Iterable[Any]) -> bool:
    for value in values:  # noqa: SIM110 - for the few there are, all() over a generator costs three times as much
        if not isinstance(value, str):
            return False
    return True


def _encodable(text: str) -> bool:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True
