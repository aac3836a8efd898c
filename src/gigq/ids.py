"""Identifiers: what names a job, a lease, a process, a boot."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import uuid
from pathlib import Path


def job_id() -> str:
    """A UUIDv7: sorts by creation, so inserts go to the end of the index."""
    import uuid_utils

    return str(uuid_utils.uuid7())


def worker_id() -> str:
    return f"worker-{uuid.uuid4()}"


def lease_token() -> str:
    """64 random bits that, with a job's number, name one run for ever: ``<token>-<seq>``."""
    return secrets.token_hex(8)


def mark_key(execution_id: str) -> bytes:
    """The 16 bytes by which a start mark names a run, whoever made its id."""
    token, _, seq = execution_id.partition("-")
    if len(token) == 16 and seq.isdecimal():
        return bytes.fromhex(token) + int(seq).to_bytes(8, "little")
    return hashlib.blake2b(execution_id.encode(), digest_size=16).digest()


@functools.cache
def boot_id() -> str:
    """Names the running boot of this machine; marks and locks of another boot mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # Without it every process is its own boot: its marks charge nobody, which is the safe side.
        return f"process-{os.getpid()}-{secrets.token_hex(4)}"


def process_birth(pid: int) -> str | None:
    """When a process started, as its kernel tells it; None if it is gone (or cannot be asked)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]
