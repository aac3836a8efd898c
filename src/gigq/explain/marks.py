"""What may keep a pending job: one function for each mark, from the facts to a reason, or to None where it is not so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gigq.clock import SECOND, to_iso
from gigq.explain.limited import is_held_for_limit
from gigq.explain.words import Reason, attempts, first_line, moment, sentence, span, start_one

if TYPE_CHECKING:
    from gigq.store.explaining import Facts, OpenParent

_NAMED = 3
"""Parents that a sentence names."""
_HOLD_ENDS = 24 * 3600 * SECOND


def _waits_for_parents(facts: Facts, _now: int) -> Reason | None:
    left = facts.job["parents_left"]
    if not left:
        return None
    parents = facts.open_parents
    named = ", ".join(_parent(parent) for parent in parents[:_NAMED])
    more = f" and {left - _NAMED} more" if left > _NAMED else ""
    text = f"It waits for {'its parent' if left == 1 else f'{left} parents'}" + (
        f": {named}{more}." if named else "."
    )
    bad = [parent for parent in parents if parent.status in ("failed", "timeout", "cancelled")]
    if bad:
        advice = f"It waits until that has completed after all: gigq requeue {bad[0].id}, or gigq cancel {facts.job['id']}."
    else:
        advice = f"Why that has not completed: gigq explain {parents[0].id}." if parents else ""
    told = [parent._asdict() for parent in parents]
    return Reason("parents", text, advice, {"parents_left": left, "parents": told})


def _parent(parent: OpenParent) -> str:
    if parent.status == "completed":
        return f"{parent.name} {parent.id}, which has just completed"
    return f"{parent.name} {parent.id} ({parent.status})"


def _is_not_due(facts: Facts, now: int) -> Reason | None:
    due_at = facts.job["due_at"]
    if due_at is None:
        return None
    told = {"due_at": to_iso(due_at), "seconds_left": max(0, due_at - now) / SECOND}
    if due_at <= now:
        text = f"It has been due since {moment(due_at)}; a worker sees to it when it looks next."
        return Reason("due", text, start_one(facts), told)
    after = f" after {attempts(facts)}: {first_line(facts)}" if facts.job["attempts"] else ""
    return Reason("due", f"It is due at {moment(due_at)}, in {span(due_at - now)}{after or '.'}", "", told)


def _is_held(facts: Facts, now: int) -> Reason | None:
    held_by = facts.job["held_by"]
    if held_by is None:
        return None
    kind, _, what = held_by.partition(":")
    return _HOLDS.get(kind, _is_held_somehow)(what or kind, facts, now)


def _is_held_for_import(module: str, facts: Facts, _now: int) -> Reason:
    job = facts.job
    since = job["held_since"]
    ends = None if since is None else since + _HOLD_ENDS
    text = f"It is held: no worker that tried could import {module}: {first_line(facts)}"
    if ends is not None:
        text += f" It fails at {moment(ends)} if that does not change."
    advice = (
        f"Start a worker that can run {job['function_module']}.{job['function_name']}: from the project's folder, "
        "in its environment."
    )
    told = {
        "held_by": job["held_by"],
        "held_since": since and to_iso(since),
        "fails_at": ends and to_iso(ends),
    }
    return Reason("held", text, advice, told)


def _is_held_somehow(_what: str, facts: Facts, _now: int) -> Reason:
    held_by = facts.job["held_by"]
    return Reason("held", f"It is held by {held_by}.", "", {"held_by": held_by})


_HOLDS: dict[str, Callable[[str, Facts, int], Reason]] = {
    "import": _is_held_for_import,
    "limit": is_held_for_limit,
}
"""By what stands before the colon in ``held_by``."""


def _is_paused(facts: Facts, now: int) -> Reason | None:
    queue, settings = facts.job["queue"], facts.queue
    if settings.paused_at is None:
        return None
    why = f": {sentence(settings.reason)}" if settings.reason else "."
    text = f"Its queue {queue!r} is paused since {moment(settings.paused_at)}{why}"
    told = {"queue": queue, "paused_at": to_iso(settings.paused_at), "why": settings.reason}
    return Reason("paused", text, f"Let it go on: gigq queue resume {queue}.", told)


def _ends(facts: Facts, now: int) -> Reason | None:
    expires_at, deadline_at = facts.job["expires_at"], facts.job["deadline_at"]
    if expires_at is None and deadline_at is None:
        return None
    parts = []
    if expires_at is not None:
        parts.append(f"is cancelled unless it is started by {moment(expires_at)}")
    if deadline_at is not None:
        parts.append(f"is over at {moment(deadline_at)}, done or not")
    told = {
        "expires_at": expires_at and to_iso(expires_at),
        "deadline_at": deadline_at and to_iso(deadline_at),
    }
    return Reason("ends", f"It {' and '.join(parts)}.", "", told)


_Question = Callable[["Facts", int], Reason | None]

KEEPS: tuple[_Question, ...] = (_waits_for_parents, _is_not_due, _is_held, _is_paused)
"""What keeps a pending job from being ready, or from being claimed."""
NOTES: tuple[_Question, ...] = (_ends,)
"""What else is to be known of one."""
