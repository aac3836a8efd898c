"""Which jobs a list is asked for, how a list is shown and gone on with, and where in a job a search was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gigq import callables, codec, labels, limits
from gigq.clock import to_iso
from gigq.errors import InvalidJob
from gigq.status import JobStatus

if TYPE_CHECKING:
    from gigq.store import Store
    from gigq.store.listing import Wanted

_LONGEST = 1000
"""Characters of a search."""
_MARK = "@"
"""Begins a cursor, which no id that gigq makes does."""
_AROUND = 24
"""Characters of an excerpt on either side of what was found."""


class JobList(list[dict[str, Any]]):
    """Jobs, newest first, and where to go on."""

    next: str | None = None
    """What to give as ``before`` for the jobs after these; None if there are no more. Where many jobs had to be looked at
    it may be set though fewer were found than the limit: a call looks at 100,000."""


class Finding:
    """The part of JobQueue that lists jobs."""

    if TYPE_CHECKING:

        @property
        def _store(self) -> Store: ...
        @property
        def _name(self) -> str: ...

    def list_jobs(
        self,
        status: JobStatus | str | None = None,
        limit: int = 100,
        *,
        queue: str | None = None,
        task: Callable[..., Any] | str | None = None,
        tag: str | None = None,
        search: str | None = None,
        before: str | None = None,
    ) -> JobList:
        """
        List jobs in the queue, optionally filtered by status.

        Args:
            status: Filter jobs by this status.
            limit: Maximum number of jobs to return.
            queue: Only those in this queue.
            task: Only those that run this function: itself, a ``@task``, ``"module.function"``, or a name alone.
            tag: Only those with this tag.
            search: Only those with this text in their id, name, description, error, params, tags or metadata (A to Z
                and a to z are the same).
            before: Only those that were submitted before this job (its id); or ``next`` of a list, to go on behind it.

        Returns:
            A list of job dictionaries, newest first. Its attribute ``next`` says where to go on, None at the end.
            What no index answers (``task``, ``search``, the queue "default", several filters) is looked for among
            100,000 jobs in a call; ``next`` is set then though fewer than ``limit`` were found.

        Raises:
            ValueError: There is no such status, the limit is negative, or another argument makes no sense.
        """
        if not isinstance(limit, int) or limit < 0:
            raise InvalidJob(f"limit: a whole number from 0 up, not {limit!r}")
        wanted = _wanted(status, queue, task, tag, search)
        where = {} if before is None else {"cursor": self._place(before)}
        found = self._store.find(wanted, limit, **where) if limit else None
        jobs = JobList(map(shown, found.records) if found else ())
        jobs.next = _cursor_text(found.cursor) if found else None
        return jobs

    def _place(self, before: str) -> int:
        if not isinstance(before, str):
            raise InvalidJob(f"before: a job's id, or 'next' of a list, is needed, not {before!r:.100}")
        place = cursor_number(before)
        if place is None:
            place = self._store.place_of(before)
        if place is None:
            raise InvalidJob(
                f"before: job {before!r:.100} is not in {self._name} (any more). 'next' of a list stays good."
            )
        return place


def _wanted(
    status: JobStatus | str | None,
    queue: str | None,
    task: Any,
    tag: str | None,
    search: str | None,
) -> Wanted:
    """What a caller asked for, as the store looks for it.

    Raises:
        InvalidJob: naming the argument.
    """
    from gigq.store.listing import Wanted

    if queue is not None and not isinstance(queue, str):
        raise InvalidJob(f"queue: a name is needed, not {queue!r:.100}")
    module, function, script = _task(task)
    pattern = pattern_json = None
    if search is not None:
        if not isinstance(search, str) or not search or len(search) > _LONGEST or "\x00" in search:
            raise InvalidJob(f"search: text of 1 to {_LONGEST} characters is needed, not {search!r:.100}")
        plain, spelled = _storable(search), _spelled(search)
        pattern, pattern_json = _pattern(plain), None if spelled == plain else _pattern(spelled)
    return Wanted(
        status=_known_status(status),
        queue=None if queue is None else _storable(queue),
        tag=None if tag is None else labels.known_tag(tag, "tag"),
        module=module,
        function=function,
        script=script,
        search=pattern,
        search_json=pattern_json,
    )


def _known_status(status: JobStatus | str | None) -> str | None:
    if status is None or isinstance(status, JobStatus):
        return status.value if status else None
    try:
        return JobStatus(status).value
    except ValueError:
        valid = ", ".join(known.value for known in JobStatus)
        raise InvalidJob(f"status: {status!r} is none of {valid}") from None


def _task(task: Any) -> tuple[str | None, str | None, str | None]:
    """Module, name and script of a function, of ``"module.function"``, or of a name alone."""
    if task is None:
        return None, None, None
    if isinstance(task, str):
        module, _, name = task.rpartition(".")
        if not name.isidentifier():
            raise InvalidJob(f"task: 'module.function', or a function's name, is needed, not {task!r:.100}")
        return _storable(module) or None, _storable(name), None
    try:
        return callables.refer(callables.bare(task))
    except InvalidJob as error:
        raise InvalidJob(f"task: {error}") from None


def _storable(text: str) -> str:
    """Lone surrogates cannot be stored, so no job has them; nor can SQLite be asked for them."""
    return text.encode("utf-8", "replace").decode()


def _spelled(text: str) -> str:
    """As it stands within the JSON texts of the database."""
    return json.dumps(_storable(text), ensure_ascii=False)[1:-1]


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


# -- going on ------------------------------------------------------------------------------------------------


def _cursor_text(cursor: int | None) -> str | None:
    """How callers are given a place in the list."""
    return None if cursor is None else f"{_MARK}{cursor}"


def cursor_number(text: str) -> int | None:
    """The place that a text names; None if it is an id instead."""
    number = text[len(_MARK) :]
    return (
        int(number)
        if text.startswith(_MARK) and number.isascii() and number.isdigit() and len(number) < 19
        else None
    )


# -- what is shown -------------------------------------------------------------------------------------------


def shown(record: dict[str, Any]) -> dict[str, Any]:
    """A row of the store as callers see it."""
    del record["seq"]
    record["params"] = codec.decode(record["params"])
    record["dependencies"] = codec.decode(record["dependencies"])
    record["result"] = codec.decode(record["result"])
    record["retry"] = codec.decode(record["retry"])
    record["limits"] = record["limits"].split(limits.JOINT) if record["limits"] else []
    record["tags"] = codec.decode(record["tags"]) or []
    record["metadata"] = codec.decode(record["metadata"]) or {}
    if record["progress"] is not None:
        run, done, total, message, at = codec.decode(record["progress"])
        told = {"run": run, "done": done, "total": total, "message": message, "updated_at": to_iso(at)}
        record["progress"] = told
    if record["pass_parent_results"] is not None:
        record["pass_parent_results"] = bool(record["pass_parent_results"])
    return record


def excerpt(record: dict[str, Any], search: str) -> str:
    """Where a search was found in a record: ``params: ...{"url":"https://example.org"...``; "" for nowhere."""
    for field in ("id", "name", "description", "error", "params", "tags", "metadata"):
        value = record[field]
        if not value:
            continue
        is_json = not isinstance(value, str)
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) if is_json else value
        for spelling in (search, _spelled(search)) if is_json else (search,):
            at = _plain_case(text).find(_plain_case(spelling))
            if at >= 0:
                return f"{field}: {_around(text, at, at + len(spelling))}"
    return ""


def _around(text: str, first: int, last: int) -> str:
    begin, end = max(0, first - _AROUND), last + _AROUND
    return f"{'...' if begin else ''}{text[begin:end]}{'...' if end < len(text) else ''}"


def _plain_case(text: str) -> str:
    """As SQLite compares: only A to Z are the same as a to z. Keeps the length."""
    return text.translate(_LOWER)


_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
