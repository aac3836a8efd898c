"""Imported by each child of a torture: what it does otherwise than a healthy one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from gigq.marks import Marks
from gigq.worker import child


def _silent_starts() -> None:
    """No start is marked."""
    Marks.write = lambda self, slot, key, started: None  # type: ignore[method-assign]


def _late_results() -> None:
    """A result is written after the next start, with whatever else has ended by then."""
    real = child.Child._send
    held: list[Any] = []

    def send(self: Any, message: Any) -> None:
        if type(message).__name__ == "Done" and self._waiting:
            held.append(message)
            return
        for one in held:
            real(self, one)
        held.clear()
        real(self, message)

    child.Child._send = send  # type: ignore[method-assign]


_WAYS: dict[str, Callable[[], None]] = {"silent starts": _silent_starts, "late results": _late_results}

for _name in json.loads(os.environ.get("GIGQ_TORTURE_CHILD", "[]")):
    _WAYS[_name]()
