"""Identifiers: what names a job, a lease, a process, a boot.

Imported by everything, so what is slow to import comes at first use.
"""

from __future__ import annotations

import functools
import os

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


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


def boot_id() -> str:
    """Names the running boot of this machine; marks and locks of another boot mean nothing. Empty where nobody tells."""
    try:
        return _boot_id()
    except OSError:
        return ""


@functools.cache
def _boot_id() -> str:
    with open(_BOOT_ID) as file:
        return file.read().strip()


@functools.cache
def of_this_boot() -> str:
    """As good as :func:`boot_id` to tell this process from those of all other boots."""
    return boot_id() or os.urandom(16).hex()


def process_birth(pid: int) -> str | None:
    """When a process started, as its kernel tells it; None if it is gone (or nobody tells), empty if that failed."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:  # no descriptor left
        return ""
    return stat.rpartition(")")[2].split()[19]
