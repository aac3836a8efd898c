"""Unique: which jobs count as the same, for how long, and what becomes of the second one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Literal, Protocol

from gigq import timing
from gigq.clock import is_seconds
from gigq.errors import InvalidJob
from gigq.status import TERMINAL, JobStatus

OnConflict = Literal["return", "skip", "raise", "replace", "debounce"]
CONFLICT_POLICIES: tuple[OnConflict, ...] = ("return", "skip", "raise", "replace", "debounce")

_LONGEST_KEY = 1000
_BEFORE_IT_RUNS = (JobStatus.PENDING,)
_UNTIL_IT_ENDS = (JobStatus.PENDING, JobStatus.RUNNING)


class Unique:
    """Of the jobs with one key at most one is in the queue, as far as ``states`` and ``period`` say."""

    __slots__ = ("key", "listed", "on_conflict", "period", "states")

    key: str | None
    states: tuple[JobStatus, ...]
    period: float | None
    on_conflict: OnConflict
    listed: str
    """The states, with commas between them."""

    def __init__(
        self,
        key: str | None = None,
        *,
        states: Iterable[JobStatus | str] | None = None,
        period: float | timedelta | None = None,
        on_conflict: OnConflict = "return",
    ) -> None:
        """
        Declare what makes a job unique.

        Args:
            key: Jobs with the same text count as the same; None makes it from the function and the params.
            states: While the job that has the key is in one of these, no other may have it. The default is
                pending and running (for ``"debounce"``: pending). ``"pending"`` must be among them, and ``"running"``
                if there is one that comes after it; empty where only ``period`` is to count.
            period: Seconds (or a timedelta) from the submit on within which there is no other, however the job ended,
                unless it was cancelled. For ``"debounce"`` how long there must be no further submit before it runs (or the job
                has a ``delay``; the longer one counts).
            on_conflict: What a submit does that meets a job with its key: ``"return"`` that job's id; ``"skip"``, the
                same, but :meth:`JobQueue.submit_many` leaves it out of its list; ``"raise"`` DuplicateJob;
                ``"replace"`` what the other is to do, if it is still pending; ``"debounce"``, that too, and it
                runs ``period`` seconds from now.

        Raises:
            InvalidJob: naming the argument that cannot be accepted.
        """
        if key is not None:
            check_key(key, "unique key")
        if on_conflict not in CONFLICT_POLICIES:
            raise InvalidJob(
                f"unique on_conflict: one of {', '.join(CONFLICT_POLICIES)}, not {on_conflict!r:.100}"
            )
        self.key = key
        self.on_conflict = on_conflict
        self.period = _seconds(period)
        if states is None:
            self.states = _BEFORE_IT_RUNS if on_conflict == "debounce" else _UNTIL_IT_ENDS
        else:
            self.states = _known_states(states)
        if not self.states and (self.period is None or on_conflict == "debounce"):
            raise InvalidJob("unique states: with none of them, a period must say how long the key is taken")
        self.listed = ",".join(state.value for state in self.states)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unique) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        states = [state.value for state in self.states]
        return (
            f"Unique({self.key!r}, states={states}, period={self.period!r}, on_conflict={self.on_conflict!r})"
        )

    def _fields(self) -> tuple[object, ...]:
        return self.key, self.states, self.period, self.on_conflict


class Declared(Protocol):
    """What a job says of its key, and of how long it waits."""

    name: str
    unique: Unique | bool | None
    unique_key: str | None
    delay: timing.Duration | None


def declared(job: Declared) -> tuple[str | None, Unique] | None:
    """The key of a job, if it is given, and the rules; None for a job like any other.

    Raises:
        InvalidJob: a field cannot be accepted, or two contradict each other.
    """
    unique, unique_key, whose = job.unique, job.unique_key, f"job {job.name!r}: "
    if unique_key is not None:
        check_key(unique_key, f"{whose}unique_key")
    if unique is None or unique is True:
        return None if unique is None and unique_key is None else (unique_key, _PLAIN)
    if unique is False:
        if unique_key is not None:
            raise InvalidJob(f"{whose}unique: False, but there is a unique_key ({unique_key!r}); keep one")
        return None
    if not isinstance(unique, Unique):
        raise InvalidJob(f"{whose}unique: True or Unique(...) is needed, not {unique!r:.100}")
    if unique_key is not None and unique.key not in (None, unique_key):
        raise InvalidJob(
            f"{whose}unique_key: {unique_key!r}, but unique has the key {unique.key!r}; keep one"
        )
    if unique.on_conflict == "debounce" and unique.period is None and job.delay is None:
        raise InvalidJob(
            f"{whose}unique: on_conflict='debounce' needs the time to wait for another submit: its period, or the delay of "
            "the job"
        )
    return unique_key or unique.key, unique


def check_key(key: object, what: str) -> None:
    """InvalidJob for what cannot be a key; ``what`` is how the message calls it."""
    if not isinstance(key, str) or not key:
        raise InvalidJob(f"{what}: text is needed, not {key!r:.100}")
    if len(key) > _LONGEST_KEY:
        raise InvalidJob(
            f"{what}: at most {_LONGEST_KEY} characters; this has {len(key)}. Use a digest of it"
        )
    try:
        key.encode()
    except UnicodeEncodeError:
        raise InvalidJob(f"{what}: text without lone surrogates is needed, not {key!r:.100}") from None
    if "\x00" in key:
        raise InvalidJob(f"{what}: text without NUL is needed, not {key!r:.100}")


def _seconds(period: float | timedelta | None) -> float | None:
    seconds = period.total_seconds() if isinstance(period, timedelta) else period
    if seconds is not None and not (is_seconds(seconds) and seconds > 0):
        raise InvalidJob(
            f"unique period: seconds above 0, or a timedelta, up to ten years, not {period!r:.100}"
        )
    return seconds


def _known_states(states: Iterable[JobStatus | str]) -> tuple[JobStatus, ...]:
    """In the order of the enum.

    A job must hold its key from the submit on without a gap: to get it back where it starts, or ends, would
    cost every claim and every end of a run a look.
    """
    if isinstance(states, str | JobStatus) or not isinstance(states, Iterable):
        raise InvalidJob(f"unique states: a list of states is needed, not {states!r:.100}")
    named = set()
    for state in states:
        try:
            named.add(JobStatus(state))
        except ValueError:
            valid = ", ".join(known.value for known in JobStatus)
            raise InvalidJob(f"unique states: {state!r:.100} is none of {valid}") from None
    if named and JobStatus.PENDING not in named:
        raise InvalidJob("unique states: 'pending' must be among them, since that is how a job begins")
    if named & TERMINAL and JobStatus.RUNNING not in named:
        raise InvalidJob(
            "unique states: 'running' must be among them, since it comes before the end of a job"
        )
    return tuple(state for state in JobStatus if state in named)


_PLAIN = Unique()
