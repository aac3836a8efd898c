"""On what it ran: enough to compare figures, nothing that names the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any


def describe(folder: Path) -> dict[str, Any]:
    """Cores, versions, and what a durable write of 4 KiB costs in the folder that is used."""
    import gigq

    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "gigq": gigq.__version__,
        "durable_write_us": round(_durable_write(folder) * 1e6),
    }


def _durable_write(folder: Path, times: int = 50) -> float:
    path = folder / "probe"
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - start)
    path.unlink()
    return statistics.median(taken)
