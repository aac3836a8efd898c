"""A job that a limit holds: which, what it allows and holds, and when there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gigq.clock import SECOND, to_iso
from gigq.explain.words import Reason, counted, moment, span

if TYPE_CHECKING:
    from gigq.store.explaining import Facts


def is_held_for_limit(_what: str, facts: Facts, now: int) -> Reason:
    """Of the limits of a job, those that have no room; or that it is just being looked at."""
    told = {"held_by": facts.job["held_by"], "limits": [_told(limit) for limit in facts.limits]}
    full = [limit for limit in facts.limits if limit["is_full"]]
    if not full:
        text = "It waits for its limits, which are looked at in the next turn of a worker."
        return Reason("limit", text, "", told)
    [limit] = full  # the line waits for one of them
    key, ahead = limit["key"], limit["ahead"]
    first = (
        f"; {counted(ahead, 'job')} with the same limits {'comes' if ahead == 1 else 'come'} first"
        if ahead
        else ""
    )
    advice = f"What it allows: gigq limit list {key}."
    return Reason("limit", f"Its limit {key} has no room: {_why(limit, now)}{first}.", advice, told)


def _why(limit: dict[str, Any], now: int) -> str:
    reasons = []
    if limit["backs_off_until"] is not None:
        reasons.append(f"it backs off until {moment(limit['backs_off_until'])}")
    if limit["concurrency"] is not None and limit["running"]:
        named = f" ({', '.join(limit['running_ids'])}{', ...' if limit['running'] > len(limit['running_ids']) else ''})"
        reasons.append(f"{limit['running']} of {limit['concurrency']} run{named}")
    if limit["amount"] is not None and limit["started"]:
        reasons.append(f"{limit['started']} of {limit['amount']} have started within {span(limit['per'])}")
    full = limit["concurrency"] is not None and limit["running"] >= limit["concurrency"]
    if (
        not full and limit["opens_at"] is not None and limit["opens_at"] > now
    ):  # else it opens when one of them ends
        reasons.append(f"the next may start in {span(limit['opens_at'] - now)}")
    return ", ".join(reasons) or "others were let through before"


def _told(limit: dict[str, Any]) -> dict[str, Any]:
    times = {name: limit[name] and to_iso(limit[name]) for name in ("backs_off_until", "opens_at")}
    per = None if limit["per"] is None else limit["per"] / SECOND
    return {**limit, **times, "per": per, "is_full": bool(limit["is_full"])}
