"""Store: every verb once."""

from __future__ import annotations

from gigq.store.clearing import Clearing
from gigq.store.explaining import Explaining
from gigq.store.limits import Limits
from gigq.store.listing import Listing
from gigq.store.questions import Questions
from gigq.store.queues import QueueVerbs
from gigq.store.schedules import Schedules
from gigq.store.space import Space
from gigq.store.work import Work
from gigq.store.workers import Workers
from gigq.store.workflows import Workflows


class Store(
    Workflows,
    Explaining,
    Limits,
    Clearing,
    Space,
    Questions,
    QueueVerbs,
    Schedules,
    Listing,
    Work,
    Workers,
):
    """The queue's tables, spoken to in the words of the domain."""
