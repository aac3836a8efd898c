"""What gigq worker tells systemd: through a real socket."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import terminal

from gigq.cli.systemd import Supervisor

KINDS = [
    "file",
    pytest.param("abstract", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux's")),
]


@contextmanager
def listening(kind: str, folder: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd has it, and what NOTIFY_SOCKET says of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        ears.settimeout(terminal.LIMIT)
        if kind == "abstract":
            name = f"gigq-{secrets.token_hex(8)}"
            ears.bind(f"\0{name}")
            yield ears, f"@{name}"
        else:
            ears.bind(str(folder / "n"))
            yield ears, str(folder / "n")


def heard(ears: socket.socket) -> str:
    return ears.recv(4096).decode()


@pytest.mark.parametrize("executor", ["process", "thread"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_says_when_it_is_at_work_that_it_lives_and_when_it_stops(
    db: str, tmp_path: Path, kind: str, executor: str
) -> None:
    with listening(kind, tmp_path) as (ears, address):
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
        words = ("--db", db, "worker", "--executor", executor)
        with terminal.started(*words, env=environment) as worker:
            assert heard(ears) == "READY=1"
            assert [heard(ears) for _ in range(2)] == ["WATCHDOG=1"] * 2
            worker.send_signal(signal.SIGTERM)
            while (word := heard(ears)) == "WATCHDOG=1":
                pass
            assert word == "STOPPING=1"
            worker.communicate(timeout=terminal.LIMIT)
            assert worker.returncode == 0


def test_the_watchdog_hears_of_it_at_half_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("gigq.cli.systemd.time.monotonic", lambda: now)
    with listening("file", tmp_path) as (ears, address):
        supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
        words = []
        ears.setblocking(False)
        for now in (1000.0, 1014.9, 1015.0, 1016.0, 1031.0):
            supervisor.turn(now == 1031.0)
            try:
                while True:
                    words.append((now, heard(ears)))
            except BlockingIOError:
                pass
    assert words == [
        (1000.0, "READY=1"),
        (1000.0, "WATCHDOG=1"),
        (1015.0, "WATCHDOG=1"),
        (1031.0, "STOPPING=1"),
        (1031.0, "WATCHDOG=1"),
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getppid())},
    ],
)
def test_a_watchdog_that_is_not_ours_hears_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    with listening("file", tmp_path) as (ears, address):
        supervisor = Supervisor({"NOTIFY_SOCKET": address, **environment})
        supervisor.turn(False)
        assert heard(ears) == "READY=1"
        ears.setblocking(False)
        with pytest.raises(BlockingIOError):
            heard(ears)


def test_what_could_not_be_said_is_said_at_the_next_turn(tmp_path: Path) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "n")})
    supervisor.turn(False)
    with listening("file", tmp_path) as (ears, _):
        supervisor.turn(False)
        assert heard(ears) == "READY=1"


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_without_such_a_socket_nobody_is_told(address: str) -> None:
    assert not Supervisor({"NOTIFY_SOCKET": address}).is_there
    assert not Supervisor({}).is_there
