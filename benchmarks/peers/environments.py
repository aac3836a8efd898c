"""An environment of its own for each peer, made by pip at the first use, below ``.venvs``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.child import PROJECT
from benchmarks.peers.peer import PeerMissing

_ALL = PROJECT / ".venvs"


def python(environment: str, requires: tuple[str, ...]) -> str:
    """The interpreter that has what is required.

    Raises:
        PeerMissing: there is no network, or no such package.
    """
    folder = _ALL / environment
    interpreter = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    made_with = folder / "requires.txt"
    wanted = "\n".join(requires)
    if not (interpreter.exists() and made_with.exists() and made_with.read_text() == wanted):
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], wanted)
        _run([str(interpreter), "-m", "pip", "install", "--quiet", *requires], wanted)
        made_with.write_text(wanted)
    return str(interpreter)


def packages(environment: str, requires: tuple[str, ...]) -> Path:
    """Where its packages lie, for what is not Python in one of them.

    Raises:
        PeerMissing: as above.
    """
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([python(environment, requires), "-c", code], text=True).strip())


def _run(command: list[str], wanted: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise PeerMissing(f"{wanted.split()[0]} cannot be installed", said) from error
