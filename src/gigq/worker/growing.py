"""What a running job adds to its graph: checked when it is added, written with the run's good end."""

from __future__ import annotations

from collections.abc import Callable

from gigq import posting
from gigq.clock import SYSTEM
from gigq.errors import DuplicateJob, InvalidJob
from gigq.job import Job
from gigq.newjob import MOST_ADDED, MOST_ADDED_BYTES, MOST_EDGES, NewJob


class Growth:
    """What one run has added so far."""

    def __init__(self, own_id: str, max_params: int, room: Callable[[list[str]], int]) -> None:
        """Args:
        own_id: of the job that runs.
        max_params: bytes of JSON that a job's params may take.
        room: given ids that are to be parents, refuses what cannot be, and says how many jobs wait for this one.
        """
        self.jobs: list[NewJob] = []
        self._ids = {own_id}
        self.max_params = max_params
        self._room = room
        self._bytes = 0
        self._children: int | None = None

    def add(self, job: Job) -> None:
        """Add a job.

        Raises:
            InvalidJob: it cannot be accepted (see :meth:`add_row`).
        """
        [row] = posting.rows([job], self.max_params, SYSTEM.now())
        self.add_row(row)

    def add_row(self, row: NewJob) -> None:
        """The same, of one that is ready to be inserted.

        Raises:
            DuplicateJob: it was added before.
            UnknownParent: it depends on a job that is neither in the queue nor was added before it.
            DependencyCycle: it depends on one that waits for the job which runs.
            InvalidJob: it is more than one run may add.
        """
        if row.id in self._ids:
            raise DuplicateJob(f"add: job {row.name!r} ({row.id}) was added before. Make a new Job for each.")
        outside = [parent for parent in row.dependencies if parent not in self._ids]
        if outside or self._children is None:
            self._children = self._room(outside)
        added, size = len(self.jobs) + 1, self._bytes + len(row.params)
        if added > MOST_ADDED:
            raise InvalidJob(f"add: one run may add {MOST_ADDED:,} jobs at most. {_HINT}")
        if size > MOST_ADDED_BYTES and added > 1:
            raise InvalidJob(
                f"add: the params of the jobs that one run adds may take {MOST_ADDED_BYTES:,} bytes of JSON at most. {_HINT}"
            )
        if added * self._children > MOST_EDGES:
            raise InvalidJob(
                f"add: {self._children:,} jobs depend on this one and would wait for each that it adds; so it may add "
                f"{MOST_EDGES // self._children:,} at most. Let them depend on one job between."
            )
        self.jobs.append(row)
        self._ids.add(row.id)
        self._bytes = size


_HINT = "Let an added job add the rest, or use Workflow.map, which does that."
