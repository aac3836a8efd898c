"""Gates of one file, as if each were in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gigq.store.gate import FileGate
from gigq.store.locks import Locks

MakeLocks = Callable[[str], Locks]


class Gates:
    """Gates of the same file; each is to the others as one of another process: its locks are on its own descriptors."""

    def __init__(self, path: Path, make_locks: MakeLocks) -> None:
        self._path, self._make_locks = str(path), make_locks
        self.made: list[FileGate] = []

    def another(self) -> FileGate:
        self.made.append(FileGate(self._make_locks(self._path)))
        return self.made[-1]
