"""The bell: rung after a commit, heard by every waiter of every process."""

from __future__ import annotations

import errno
import os
import select
import sys
from pathlib import Path

import pytest
from processes import run_code

from gigq.store import watch as watch_module
from gigq.store.sidecar import FileSidecar, MemorySidecar


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "jobs.db-lock")


def heard(fd: int | None) -> bool:
    assert fd is not None
    return bool(select.select([fd], [], [], 0)[0])


linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere waiters look by themselves"
)


@linux_only
def test_every_waiter_hears_the_bell_once_for_any_number_of_rings(path: str) -> None:
    mine, other = FileSidecar(path), FileSidecar(path)
    watches = [mine.watch(_nothing), mine.watch(_nothing), other.watch(_nothing)]
    assert [heard(watch.fd) for watch in watches] == [False] * 3
    for _ in range(500):
        mine.ring()
    for watch in watches:
        assert heard(watch.fd)
        watch.drain()
        assert not heard(watch.fd)
    mine.ring()
    assert all(heard(watch.fd) for watch in watches)
    for watch in watches:
        watch.close()
    mine.close()
    other.close()


def _nothing() -> None:
    pass


@linux_only
def test_the_bell_is_heard_in_another_process(tmp_path: Path, path: str) -> None:
    mine = FileSidecar(path)
    watch = mine.watch(_nothing)
    run_code(
        "import sys; from gigq.store.sidecar import FileSidecar; FileSidecar(sys.argv[1]).ring()",
        path,
        cwd=tmp_path,
    )
    assert heard(watch.fd)
    watch.close()
    mine.close()


def test_without_a_bell_to_hear_the_waiter_knows_that_it_has_to_look(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_libc", lambda: None)
    mine = FileSidecar(path)
    watch = mine.watch(_nothing)
    assert (watch.fd, watch.polls) == (None, True)
    watch.drain()
    watch.close()
    mine.close()


def test_in_memory_the_bell_calls_whoever_waits() -> None:
    sidecar, calls = MemorySidecar(), list[str]()
    watches = [sidecar.watch(lambda: calls.append("a")), sidecar.watch(lambda: calls.append("b"))]
    assert [watch.polls for watch in watches] == [False, False]
    sidecar.ring()
    assert sorted(calls) == ["a", "b"]
    watches[0].close()
    sidecar.ring()
    assert sorted(calls) == ["a", "b", "b"]


def test_a_bell_that_cannot_be_rung_fails_nobody(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would have told of is committed."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    mine = FileSidecar(path)
    monkeypatch.setattr(os, "pwrite", full)
    mine.ring()
    mine.close()
