"""Store: every verb once."""

from __future__ import annotations

from gigq.store.changes import Changes
from gigq.store.limits import Limits
from gigq.store.questions import Questions
from gigq.store.queues import QueueVerbs
from gigq.store.work import Work
from gigq.store.workers import Workers


class Store(Changes, Limits, Questions, QueueVerbs, Work, Workers):
    """The queue's tables, spoken to in the words of the domain."""
