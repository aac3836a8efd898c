"""The sidecar: life locks that only a living process holds, and start marks that outlive it."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import PATIENCE, start, wait_until

from gigq.errors import StoreFull
from gigq.marks import SLOTS, Mark
from gigq.store import sidecar as sidecar_module
from gigq.store.locks import ByteLocks, FileLocks
from gigq.store.sidecar import FileSidecar, MemorySidecar, Sidecar

KEY, OTHER = b"k" * 16, b"o" * 16


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "jobs.db-lock")


@pytest.fixture(params=[ByteLocks, FileLocks])
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of locks that sidecars are made with."""
    monkeypatch.setattr(sidecar_module, "open_locks", request.param)
    kind: str = request.param.__name__
    return kind


@pytest.fixture(params=["file", "memory"])
def sidecar(request: pytest.FixtureRequest, path: str) -> Iterator[Sidecar]:
    """Either kind."""
    if request.param == "memory":
        yield MemorySidecar()
    else:
        made = FileSidecar(path)
        yield made
        made.close()


# -- life --------------------------------------------------------------------------------------------------------


def test_a_life_is_one_workers_until_it_is_closed(sidecar: Sidecar) -> None:
    assert not sidecar.is_alive(3)
    life = sidecar.live(3)
    assert life is not None
    assert sidecar.is_alive(3)
    assert sidecar.live(3) is None
    assert not sidecar.is_alive(4)
    life.close()
    assert not sidecar.is_alive(3)
    again = sidecar.live(3)
    assert again is not None
    again.close()


def test_a_life_that_is_forgotten_ends(sidecar: Sidecar) -> None:
    life = sidecar.live(0)
    assert sidecar.is_alive(0)
    del life
    gc.collect()
    assert not sidecar.is_alive(0)


def test_others_see_who_lives(path: str, locks: str) -> None:
    mine, other = FileSidecar(path), FileSidecar(path)
    life = mine.live(0)
    assert life is not None
    assert other.is_alive(0)
    assert other.live(0) is None
    life.close()
    assert not other.is_alive(0)
    mine.close()
    other.close()


_LIVE = """
    import os, sys, time
    from gigq.store import locks, sidecar
    sidecar.open_locks = getattr(locks, sys.argv[2])
    mine = sidecar.FileSidecar(sys.argv[1])
    life = mine.live(5)
    mine.marks(5).write(7, b"k" * 16, 123456789)
    child = os.fork() if sys.argv[3] == "forks" else -1
    if child != 0:
        print(child, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", ["alone", "forks"])
def test_a_killed_worker_is_dead_at_once_though_its_children_live(
    tmp_path: Path, path: str, locks: str, how: str
) -> None:
    worker = start(_LIVE, path, locks, how, cwd=tmp_path)
    assert worker.stdout is not None
    child = int(worker.stdout.readline())
    mine = FileSidecar(path)
    try:
        assert mine.is_alive(5)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(PATIENCE)
        wait_until(lambda: not mine.is_alive(5), "the life lock is free")
        if how == "forks":
            os.kill(child, 0)  # it is still there
        assert mine.read_marks(5) == {KEY: Mark(123456789, is_over=False)}, "what it had started can be seen"
    finally:
        if how == "forks":
            os.kill(child, signal.SIGKILL)
        worker.communicate()
        mine.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_none_of_its_parents_descriptors(path: str) -> None:
    mine = FileSidecar(path)
    life = mine.live(0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"closed" if mine.closed and path not in open_files() else b"open")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 4096) == b"closed"
    assert life is not None
    assert not mine.closed
    assert FileSidecar(path).is_alive(0)
    for fd in (read, write):
        os.close(fd)
    life.close()
    mine.close()


def open_files() -> set[str]:
    """What the descriptors of this process lead to; that by which the list was read is gone when we look."""
    found = set()
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):
            found.add(str(descriptor.readlink()))
    return found


# -- marks -------------------------------------------------------------------------------------------------------


def test_marks_are_read_by_whoever_comes_later(sidecar: Sidecar) -> None:
    marks = sidecar.marks(2)
    marks.write(0, KEY, 100)
    marks.write(SLOTS - 1, OTHER, 2**62)
    marks.finish(SLOTS - 1, OTHER)
    assert sidecar.read_marks(2) == {KEY: Mark(100, is_over=False), OTHER: Mark(2**62, is_over=True)}
    marks.write(SLOTS - 1, KEY[::-1], 300)
    assert sidecar.read_marks(2) == {KEY: Mark(300, is_over=False)}, "a slot holds the last one, not over yet"
    marks.close()


def test_a_late_thread_ends_no_mark_but_its_own(sidecar: Sidecar) -> None:
    """Its slot has been given to another run meanwhile."""
    marks = sidecar.marks(0)
    marks.write(4, KEY, 100)
    marks.write(4, OTHER, 200)
    marks.finish(4, KEY)
    assert sidecar.read_marks(0) == {OTHER: Mark(200, is_over=False)}
    marks.close()


def test_each_area_is_one_workers(sidecar: Sidecar) -> None:
    many = [sidecar.marks(area) for area in (0, 1, 5)]
    for number, marks in enumerate(many, start=1):
        marks.write(0, KEY, number)
        marks.write(SLOTS - 1, OTHER, number)
    for number, area in enumerate((0, 1, 5), start=1):
        assert sidecar.read_marks(area) == {KEY: Mark(number, False), OTHER: Mark(number, False)}
    assert sidecar.read_marks(3) == sidecar.read_marks(99) == {}
    for marks in many:
        marks.close()


def test_to_look_at_marks_that_nobody_wrote_makes_no_file_larger(path: str) -> None:
    mine = FileSidecar(path)
    assert mine.read_marks(500) == {}
    assert Path(path).stat().st_size == 0
    mine.close()


@pytest.mark.parametrize("allocates", [True, False])
def test_a_worker_that_comes_at_the_same_moment_cuts_nobodys_area(
    path: str, monkeypatch: pytest.MonkeyPatch, allocates: bool
) -> None:
    """Cut off, the next mark would end the process (SIGBUS)."""
    if not allocates:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    mine, other = FileSidecar(path), FileSidecar(path)
    far = mine.marks(9)
    size = Path(path).stat().st_size
    seen_before = os.stat_result((0o600, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda fd: seen_before)
    near = other.marks(0)
    monkeypatch.undo()
    assert Path(path).stat().st_size == size
    far.write(SLOTS - 1, KEY, 1)
    near.write(0, KEY, 2)
    assert mine.read_marks(9) == {KEY: Mark(1, False)}
    far.close()
    near.close()
    mine.close()
    other.close()


def test_no_room_for_marks_is_told_before_the_first_of_them(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this platform cannot reserve room")
    mine = FileSidecar(path)

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreFull, match=rf"{path}: no room for a worker's start marks: No space left"):
        mine.marks(0)
    mine.close()


def test_a_file_system_that_cannot_reserve_will_do(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unable, raising=False)
    mine = FileSidecar(path)
    marks = mine.marks(1)
    marks.write(SLOTS - 1, KEY, 1)
    assert mine.read_marks(1) == {KEY: Mark(1, False)}
    marks.close()
    mine.close()


# -- the file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_its_owners_alone(path: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        FileSidecar(path).close()
    finally:
        os.umask(before)
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_one_that_is_there_already_is_used_as_it_is(path: str) -> None:
    first = FileSidecar(path)
    first.marks(0).write(0, KEY, 1)
    identity = first.identity
    first.close()
    second = FileSidecar(path)
    assert (second.identity, second.read_marks(0)) == (identity, {KEY: Mark(1, False)})
    second.close()


@pytest.mark.parametrize("how", ["deleted", "renamed", "replaced"])
def test_it_knows_when_it_is_no_longer_the_file_at_its_path(path: str, how: str) -> None:
    mine = FileSidecar(path)
    assert not mine.is_replaced()
    if how == "deleted":
        Path(path).unlink()
    elif how == "renamed":
        Path(path).rename(f"{path}.old")
    else:
        Path(f"{path}.new").touch()
        Path(f"{path}.new").replace(path)
    assert mine.is_replaced()
    mine.close()


def test_descriptors_are_not_inherited_by_programs(path: str) -> None:
    mine = FileSidecar(path)
    life = mine.live(0)
    listing = "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in range(3, 40) if os.path.exists(f'/proc/self/fd/{n}')])"
    shown = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, close_fds=False, check=True
    ).stdout
    assert path not in shown
    assert life is not None
    life.close()
    mine.close()


def test_closing_twice_is_closing_once(path: str) -> None:
    mine = FileSidecar(path)
    closings: list[Callable[[], None]] = [mine.close, mine.close]
    for close in closings:
        close()
    assert mine.closed
