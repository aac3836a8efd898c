"""Why a job is not running, or how it ended: sentences from facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gigq.explain.marks import KEEPS, NOTES
from gigq.explain.states import ended, ready, running
from gigq.explain.words import Reason

if TYPE_CHECKING:
    from gigq.store.explaining import Facts

__all__ = ["Explanation", "Reason", "explain"]


class Explanation(NamedTuple):
    """Why a job is where it is."""

    id: str
    status: str | None
    """None if it is not in the queue."""
    reasons: list[Reason]

    @property
    def text(self) -> str:
        """What is the case, in a sentence or two."""
        return " ".join(reason.text for reason in self.reasons)

    @property
    def advice(self) -> list[str]:
        """What to do about it."""
        return [reason.advice for reason in self.reasons if reason.advice]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs, in plain types."""
        return {
            "id": self.id,
            "exists": self.status is not None,
            "status": self.status,
            "text": self.text,
            "advice": self.advice,
            "reasons": [
                {"reason": one.code, "text": one.text, "advice": one.advice, **one.facts}
                for one in self.reasons
            ],
        }

    def __str__(self) -> str:
        return "\n".join([self.text, *self.advice])


def explain(job_id: str, facts: Facts | None, now: int, where: str) -> Explanation:
    """Say why a job is where it is.

    Args:
        job_id: what was asked for.
        facts: what the store knows; None for no such job.
        now: microseconds UTC.
        where: what the queue is called.
    """
    if facts is None:
        text = f"There is no job {job_id} in {where}: it was submitted elsewhere, or has been cleared."
        return Explanation(job_id, None, [Reason("unknown", text, "See which there are: gigq list.")])
    status = facts.job["status"]
    if status == "pending":
        kept = [reason for keeps in KEEPS if (reason := keeps(facts, now)) is not None]
        also = [reason for note in NOTES if (reason := note(facts, now)) is not None]
        return Explanation(job_id, status, (kept or [ready(facts, now)]) + also)
    return Explanation(job_id, status, [running(facts, now) if status == "running" else ended(facts, now)])
