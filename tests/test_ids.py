"""What names a job, a lease, a process, a boot."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq import ids


@pytest.mark.parametrize(
    ("text", "looked_for"),
    [("a", "a"), ("é-1", "é-1"), ("\ud800", "\x00"), ("a\udcff", "\x00"), ("", "")],
    ids=ascii,
)
def test_an_id_that_cannot_be_is_sought_as_one_that_nothing_has(text: str, looked_for: str) -> None:
    assert ids.sought(text) == looked_for


def test_job_ids_are_uuids_that_sort_by_creation() -> None:
    made = [ids.job_id() for _ in range(1000)]
    assert made == sorted(set(made))
    assert {uuid.UUID(one).version for one in made} == {7}


def test_a_worker_id_says_what_it_is() -> None:
    prefix, _, rest = ids.worker_id().partition("-")
    assert prefix == "worker"
    assert uuid.UUID(rest).version == 4
    assert ids.worker_id() != ids.worker_id()


def test_lease_tokens_are_64_random_bits() -> None:
    made = {ids.lease_token() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(bytes.fromhex(token)) for token in made} == {8}


@given(st.binary(min_size=8, max_size=8), st.integers(0, 2**63 - 1))
def test_a_mark_key_holds_the_whole_name_of_a_run(token: bytes, seq: int) -> None:
    assert ids.mark_key(f"{token.hex()}-{seq}") == token + seq.to_bytes(8, "little")


@given(st.sets(st.text(max_size=60), min_size=2, max_size=2))
def test_the_names_that_others_give_to_runs_have_keys_of_their_own(names: set[str]) -> None:
    one, two = (ids.mark_key(name) for name in names)
    assert len(one) == len(two) == 16
    assert one != two


def test_a_uuid_as_execution_id_has_a_key() -> None:
    assert len(ids.mark_key(str(uuid.uuid4()))) == 16


def test_processes_of_one_boot_agree_on_it() -> None:
    code = "from gigq import ids; print(ids.boot_id())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == ids.boot_id()


def test_a_process_is_known_by_its_birth() -> None:
    born = ids.process_birth(os.getpid())
    assert born is not None
    assert born == ids.process_birth(os.getpid())


def test_a_process_that_is_gone_has_no_birth() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert ids.process_birth(ended.pid) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the kernel of Linux")
def test_a_boot_that_could_not_be_told_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ids._boot_id.cache_clear()
    ids.of_this_boot.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(ids, "_BOOT_ID", "/nowhere")
        assert ids.boot_id() == ""
        assert len(ids.of_this_boot()) == 32
        assert ids.of_this_boot() == ids.of_this_boot()
    assert ids.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ids.of_this_boot.cache_clear()
