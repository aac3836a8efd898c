"""Queues: their names, and whose turn it is at a worker that serves several."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Mapping, Sequence

from gigq.errors import InvalidJob

DEFAULT = "default"
OTHERS = "*"
"""In the list of a worker: every queue that is not named there."""
LONGEST_NAME = 200

Queues = Sequence[str] | Mapping[str, float]
"""What a worker is told to serve: names in order, or names with weights."""


def check_name(name: object, field: str = "queue", whose: str = "") -> str:
    """The name of a queue, if it can be one.

    Raises:
        InvalidJob: naming the field.
    """
    if not isinstance(name, str) or not name:
        raise InvalidJob(f"{whose}{field}: the name of a queue is needed, not {name!r:.100}")
    if name == OTHERS:
        raise InvalidJob(
            f"{whose}{field}: '*' is no queue; it stands for all others where a worker lists its own"
        )
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidJob(
            f"{whose}{field}: printable text of at most {LONGEST_NAME} characters is needed, not {name!r:.100}"
        )
    return name


class Serving:
    """The queues that a worker serves, in order or by weight; it remembers who has had its turn.

    By weight, each queue has a virtual time that goes on by 1 / weight for each job it is given, and the one that is
    furthest behind is next (stride scheduling): shares hold over any stretch in which all have work, a queue without
    work leaves its share to the others, and no queue saves up turns while it has none.
    """

    def __init__(self, queues: Queues | None = None, draw: Callable[[], float] = random.random) -> None:
        """Args:
        queues: names in the order in which they are served, or a dictionary of weights; ``"*"`` for every queue that
            is not named. None for all queues.
        draw: numbers from 0 up to 1, by which it is decided who begins.

        Raises:
            InvalidJob: naming the queue that cannot be served.
        """
        listed = (OTHERS,) if queues is None else queues
        if isinstance(listed, str) or not isinstance(listed, Sequence | Mapping) or not listed:
            raise InvalidJob(
                f"queues: a list of names, or a dictionary of weights by name, is needed, not {queues!r:.100}"
            )
        self.entries: tuple[str, ...] = tuple(listed)
        for name in self.entries:
            if name != OTHERS:
                check_name(name, "queues")
        if len(set(self.entries)) < len(self.entries):
            raise InvalidJob(f"queues: a queue is named twice in {list(self.entries)!r:.200}")
        self.named = [name for name in self.entries if name != OTHERS]
        self.serves_others = OTHERS in self.entries
        self.after = ""
        """The others are looked through from behind this name on, where they are more than are looked at at once."""
        self._weights = _checked(listed) if isinstance(listed, Mapping) else None
        # Drawn so that each begins as often as its weight says: a worker that runs one job and ends starves nobody.
        self._times = {
            name: -math.log(1.0 - draw()) / weight for name, weight in (self._weights or {}).items()
        }
        self._had_work: set[str] = set()

    @property
    def is_everything(self) -> bool:
        """Whether it is all queues, as if they were one."""
        return self.entries == (OTHERS,)

    def entry_of(self, queue: str) -> str:
        """Where a queue stands in the list."""
        return queue if queue in self.named else OTHERS

    def begin(self, having_work: list[str]) -> None:
        """Note which entries have work now; one that had none before starts where the others are."""
        if self._weights is not None:
            stayed = [self._times[name] for name in having_work if name in self._had_work]
            for name in having_work:
                if stayed and name not in self._had_work:
                    self._times[name] = max(self._times[name], min(stayed))
            self._had_work = set(having_work)

    def shares(self, having_work: list[str], want: int) -> list[tuple[str, int]]:
        """How many of the next jobs each entry is to give; those that can give more are asked again for the rest."""
        if self._weights is None:
            return [(having_work[0], want)]
        shares = dict.fromkeys(having_work, 0)
        times = [(self._times[name], place, name) for place, name in enumerate(having_work)]
        heapq.heapify(times)
        for _ in range(want):
            time, place, name = times[0]
            shares[name] += 1
            heapq.heapreplace(times, (time + 1 / self._weights[name], place, name))
        return [(name, share) for name, share in shares.items() if share]

    def took(self, entry: str, n: int) -> None:
        """Note how many it gave."""
        if self._weights is not None:
            self._times[entry] += n / self._weights[entry]

    def __repr__(self) -> str:
        return f"<serving {', '.join(self.entries)}>"


EVERYTHING = Serving()
"""All queues, as if they were one."""


def _checked(weights: Mapping[str, float]) -> dict[str, float]:
    for name, weight in weights.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not 0 < weight < math.inf:
            raise InvalidJob(f"queues: the weight of {name!r} is to be a number above 0, not {weight!r}")
    return dict(weights)
