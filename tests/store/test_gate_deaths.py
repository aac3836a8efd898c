"""The dead, and the forked, keep nobody out of the gate."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gates import Gates, MakeLocks
from processes import PATIENCE, start

from gigq.store import gate as gate_module
from gigq.store.locks import ByteLocks, FileLocks, open_locks
from gigq.store.sidecar import FileSidecar


@pytest.fixture(params=[ByteLocks, FileLocks])
def make_locks(request: pytest.FixtureRequest) -> MakeLocks:
    """Locks on bytes of one file, and those for platforms that have none."""
    made: MakeLocks = request.param
    return made


@pytest.fixture
def gates(tmp_path: Path, make_locks: MakeLocks) -> Iterator[Gates]:
    made = Gates(tmp_path / "jobs.db-lock", make_locks)
    yield made
    for gate in made.made:
        gate.close()


_HOLD = """
    import sys, time
    from gigq.store import gate, locks
    make = getattr(locks, sys.argv[2])
    mine = gate.FileGate(make(sys.argv[1]))
    print("entered" if mine.acquire(float(sys.argv[3])) else "gave up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("where", ["inside", "in line"])
def test_a_killed_process_frees_its_turn(
    tmp_path: Path, gates: Gates, make_locks: MakeLocks, where: str
) -> None:
    mine = gates.another()
    if where == "in line":
        assert mine.acquire(0)
    path = str(tmp_path / "jobs.db-lock")
    other = start(_HOLD, path, make_locks.__name__, "600" if where == "inside" else "0.5", cwd=tmp_path)
    assert other.stdout is not None
    assert other.stdout.readline() == ("entered\n" if where == "inside" else "gave up\n")
    if where == "inside":
        assert not mine.acquire(0.05)
    os.kill(other.pid, signal.SIGKILL)
    other.communicate()
    if where == "in line":
        mine.release()
    assert mine.acquire(PATIENCE)
    mine.release()
    assert gates.another().acquire(PATIENCE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("turn", ["taken", "kept"])
def test_a_forked_child_neither_keeps_nor_frees_the_turn_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_locks: MakeLocks, turn: str
) -> None:
    monkeypatch.setattr("gigq.store.sidecar.open_locks", make_locks)
    monkeypatch.setattr(gate_module, "_KEPT", PATIENCE)
    path = str(tmp_path / "jobs.db-lock")
    mine, other = FileSidecar(path), FileSidecar(path)
    if turn == "taken":
        assert mine.gate.acquire(0)
    else:
        rung = threading.Event()
        assert other.gate.acquire(0)
        assert not mine.gate.acquire(0.01, rung.set)
        other.gate.release()
        assert rung.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        time.sleep(0 if turn == "kept" else 600)
        os._exit(0)
    try:
        if turn == "kept":
            os.waitpid(child, 0)
        assert not other.gate.acquire(0.05), "not freed"
        assert mine.gate.acquire(0)
        mine.gate.release()
        if turn == "taken":
            mine.gate.release()
        assert other.gate.acquire(PATIENCE), "not kept"
    finally:
        if turn == "taken":
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        mine.close()
        other.close()


def test_this_platform_gets_the_best_locks_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    assert isinstance(open_locks(str(tmp_path / "a")), ByteLocks)
    monkeypatch.delattr(fcntl, "F_OFD_SETLK")
    assert isinstance(open_locks(str(tmp_path / "b")), FileLocks)
