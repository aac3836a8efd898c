"""gigq 0.5.1, the reference implementation, in an environment of its own.

Its documented settings are all there are: WAL (always on) and ``concurrency``. Its API is the one we keep, so that
the workloads are the same lines; what it has not (``submit_many``, ``durability``) is in :mod:`benchmarks.api`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.child import PROJECT

VERSION = "0.5.1"
ENVIRONMENT = PROJECT / ".venvs" / f"gigq-{VERSION}"
PROMISE = "history kept; survives a power cut; a claim costs more the more jobs wait"


class PeerMissing(Exception):
    """The environment could not be made; the message says why."""


def python() -> str:
    """The interpreter that has it; the environment is made at the first call.

    Raises:
        PeerMissing: there is no network, or no such package.
    """
    interpreter = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not _has_it(interpreter):
        _run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
        _run([str(interpreter), "-m", "pip", "install", "--quiet", f"gigq=={VERSION}"])
    return str(interpreter)


def _has_it(interpreter: Path) -> bool:
    if not interpreter.exists():
        return False
    code = f"import importlib.metadata as m, sys; sys.exit(m.version('gigq') != {VERSION!r})"
    return subprocess.run([interpreter, "-c", code], capture_output=True).returncode == 0


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise PeerMissing(f"gigq {VERSION} cannot be installed: {said.strip()[-300:]}") from error
