"""Identifiers: what names a job, a lease, a process, a boot.

Imported by everything, so what is slow to import comes at first use.
"""

from __future__ import annotations

import functools
import os


def job_id() -> str:
    """A UUIDv7: sorts by creation, so inserts go to the end of the index."""
    import uuid_utils

    return str(uuid_utils.uuid7())


def sought(text: str) -> str:
    """An id to look for; in place of one with a lone surrogate, which SQLite does not take, one that nothing has."""
    try:
        str(text).encode()
    except UnicodeEncodeError:
        return "\x00"
    return text


def worker_id() -> str:
    import uuid

    return f"worker-{uuid.uuid4()}"


def lease_token() -> str:
    """64 random bits that, with a job's number, name one run for ever: ``<token>-<seq>``."""
    return os.urandom(8).hex()


def mark_key(execution_id: str) -> bytes:
    """The 16 bytes by which a start mark names a run, whoever made its id."""
    token, _, seq = execution_id.partition("-")
    if len(token) == 16 and seq.isdecimal():
        return _token_bytes(token) + int(seq).to_bytes(8, "little")
    import hashlib

    return hashlib.blake2b(execution_id.encode(), digest_size=16).digest()


@functools.lru_cache(maxsize=16)
def _token_bytes(token: str) -> bytes:
    """Hundreds of runs are claimed under one token."""
    return bytes.fromhex(token)


@functools.cache
def boot_id() -> str:
    """Names the running boot of this machine; marks and locks of another boot mean nothing."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        # Without it every process is its own boot: its marks charge nobody, which is the safe side.
        return f"process-{os.getpid()}-{os.urandom(4).hex()}"


def process_birth(pid: int) -> str | None:
    """When a process started, as its kernel tells it; None if it is gone (or cannot be asked)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            stat = file.read()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]
