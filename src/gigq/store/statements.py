"""The statements of ``statements.sql``, loaded once and spelled for a dialect."""

from __future__ import annotations

import functools
import re
from importlib import resources

from gigq.status import ENDED_BADLY, TERMINAL, TRANSITIONS, JobStatus

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
_PIECE = re.compile(r"\{(\w+)\}")


def _listed(states: frozenset[JobStatus]) -> str:
    return ", ".join(sorted(f"'{state.value}'" for state in states))


@functools.cache
def load() -> dict[str, str]:
    """Name -> text, every piece spelled out.

    Raises:
        KeyError: a statement uses a piece that is not there.
    """
    _, *parts = _NAME.split(resources.files(__package__).joinpath("statements.sql").read_text("utf-8"))
    texts = {name: _COMMENT.sub("", body).strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}
    pieces = {f"{move}_from": _listed(sources) for move, (sources, _) in TRANSITIONS.items()}
    pieces |= {"ended_badly": _listed(ENDED_BADLY)}
    pieces |= {"unended": _listed(frozenset(JobStatus) - TERMINAL)}

    def spell(text: str) -> str:
        return _PIECE.sub(lambda match: spell((pieces | texts)[match[1]]), text)

    return {name: spell(text) for name, text in texts.items()}
