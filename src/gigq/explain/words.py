"""What reasons are made of: one reason, times, counts, and errors in a line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from gigq.clock import SECOND, to_iso

if TYPE_CHECKING:
    from gigq.store.explaining import Facts

_FIRST_LINE = 300
"""Characters of an error."""


class Reason(NamedTuple):
    """One reason."""

    code: str
    """``parents``, ``due``, ``held``, ``no worker``, ``waiting``, ``running``, ``completed``, ``failed``, ..."""
    text: str
    """A sentence."""
    advice: str = ""
    """What to do, another one; "" for nothing."""
    facts: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """The same for programs: times are ISO 8601, durations seconds."""


def moment(at: int) -> str:
    """``2026-01-31 12:00:00+01:00``, in local time."""
    try:
        local = datetime.fromtimestamp(at / SECOND, UTC).astimezone()
        return local.isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return to_iso(at)


def span(microseconds: int) -> str:
    """``2 h 5 min``, ``40 s``, ``0.3 s``: the two largest units."""
    if microseconds < 10 * SECOND:
        return f"{max(0, microseconds) / SECOND:.1f} s"
    left, parts = microseconds // SECOND, []
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, seconds)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def counted(number: int, noun: str, more: str = "s") -> str:
    return f"{number:,} {noun}{'' if number == 1 else more}"


def start_one(facts: Facts) -> str:
    """What to do where it takes a worker, and there is none."""
    if any(worker.alive is not False for worker in facts.workers):
        return ""
    return "No worker is running: gigq worker."


def attempts(facts: Facts) -> str:
    job = facts.job
    crashes = f" and {counted(job['crashes'], 'crash', 'es')}" if job["crashes"] else ""
    return f"{job['attempts']} of {counted(job['max_attempts'], 'attempt')}{crashes}"


def first_line(facts: Facts) -> str:
    """Of its error, as the end of a sentence."""
    return sentence(facts.job["error"] or "no reason is known")


def sentence(text: str) -> str:
    """The first line of a text, as the end of a sentence."""
    line = text.strip().partition("\n")[0].rstrip()
    if len(line) > _FIRST_LINE:
        return f"{line[:_FIRST_LINE]}..."
    return line if line.endswith((".", "!", "?")) else f"{line}."
