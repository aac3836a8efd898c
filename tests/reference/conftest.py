"""Workers of any class, and the file that waiting functions wait for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from gigq import Worker

W = TypeVar("W", bound=Worker)


class Employ(Protocol):
    """Makes a worker of a class."""

    def __call__(self, kind: type[W], /, *args: Any, **options: Any) -> W: ...


@pytest.fixture
def employ() -> Iterator[Employ]:
    made: list[Worker] = []

    def employ(kind: type[W], /, *args: Any, **options: Any) -> W:
        worker = kind(*args, **options)
        made.append(worker)
        return worker

    yield employ
    for worker in made:
        worker.close()


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """The file that lets a waiting function go on."""
    return tmp_path / "go"
