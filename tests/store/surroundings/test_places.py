"""Where a database may lie: the path, its folder, and the file system beneath."""

from __future__ import annotations

from pathlib import Path

import pytest
from surroundings import mount, mounted

from gigq import JobQueue, Worker
from gigq.errors import StoreMissing, StoreUnusable
from gigq.store import places


def test_a_missing_folder_is_named_and_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "no" / "such"
    with pytest.raises(StoreMissing) as refused:
        JobQueue(folder / "jobs.db")
    assert str(folder / "jobs.db") in str(refused.value)
    assert f"there is no folder {folder}" in str(refused.value)
    assert "Create it" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreMissing, match="there is no folder"):
        JobQueue(tmp_path / "file" / "jobs.db")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable) as refused:
        JobQueue(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path}: is a folder")
    assert str(tmp_path / "jobs.db") in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "smbfs"])
def test_a_network_file_system_is_refused_with_the_reason_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    mounted(monkeypatch, tmp_path, mount(share, kind))
    for opening in (JobQueue, Worker):
        with pytest.raises(StoreUnusable) as refused:
            opening(share / "jobs.db")
        assert str(refused.value).startswith(f"{share / 'jobs.db'}: lies on a network file system ({kind})")
        assert "would lose jobs" in str(refused.value)
        assert "PostgreSQL" in str(refused.value)
    assert list(share.iterdir()) == []


def test_a_queue_that_came_to_a_network_share_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    JobQueue(tmp_path / "jobs.db").close()
    before = (tmp_path / "jobs.db").read_bytes()
    mounted(monkeypatch, tmp_path, mount(tmp_path, "nfs4"))
    with pytest.raises(StoreUnusable, match="network file system"):
        JobQueue(tmp_path / "jobs.db", initialize=False).stats()
    assert (tmp_path / "jobs.db").read_bytes() == before


def test_a_subclass_with_its_own_connection_is_refused_on_a_network_share_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    class Own(JobQueue):
        def _get_connection(self) -> sqlite3.Connection:
            return opened

    mounted(monkeypatch, tmp_path, mount(tmp_path, "nfs4"))
    opened = sqlite3.connect(tmp_path / "jobs.db")
    try:
        with pytest.raises(StoreUnusable, match="network file system"):
            Own(tmp_path / "jobs.db")
    finally:
        opened.close()


def test_the_mount_that_counts_is_the_nearest_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = tmp_path / "share" / "local"
    local.mkdir(parents=True)
    mounted(
        monkeypatch, tmp_path, mount(tmp_path / "share", "nfs4"), mount(local, "ext4", "/dev/disk/by-id/x")
    )
    assert places.file_system(str(tmp_path / "share" / "jobs.db")) == "nfs4"
    assert places.file_system(str(tmp_path / "shared" / "jobs.db")) == "ext4"
    assert places.file_system(str(local / "jobs.db")) == "ext4"
    JobQueue(local / "jobs.db")


def test_what_is_mounted_over_a_mount_hides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, tmp_path, mount(tmp_path, "autofs"), mount(tmp_path, "nfs4"))
    assert places.file_system(str(tmp_path / "jobs.db")) == "nfs4"


def test_a_bind_mount_of_a_share_is_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"61 25 0:52 /deep/inside {tmp_path} rw,relatime shared:7 - nfs4 server:/export rw"
    mounted(monkeypatch, tmp_path, line)
    with pytest.raises(StoreUnusable, match="network file system"):
        JobQueue(tmp_path / "jobs.db")


@pytest.mark.parametrize("name", ["my share", "a\tb", "back\\slash", "dépôt", "共有", "$(x)", "a\\040b"])
def test_mount_points_with_strange_names_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    share = tmp_path / name
    share.mkdir()
    mounted(monkeypatch, tmp_path, mount(share, "nfs4"))
    assert places.file_system(str(share / "jobs.db")) == "nfs4"


def test_a_link_to_a_share_leads_to_the_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (tmp_path / "link").symlink_to(share)
    mounted(monkeypatch, tmp_path, mount(share, "cifs"))
    with pytest.raises(StoreUnusable, match="network file system"):
        JobQueue(tmp_path / "link" / "jobs.db")


def test_fields_of_a_mount_that_come_and_go_confuse_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The optional fields before the dash: there may be none, or several."""
    mounted(monkeypatch, tmp_path, f"61 25 0:52 / {tmp_path} rw - nfs4 server:/a - b rw", "nonsense")
    assert places.file_system(str(tmp_path / "jobs.db")) == "nfs4"


def test_where_nobody_tells_the_mounts_the_place_is_taken_for_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_MOUNTS", tmp_path / "none")
    assert places.file_system(str(tmp_path)) == ""
    assert JobQueue(tmp_path / "jobs.db").stats()["total"] == 0


def test_a_unc_path_is_a_network_share() -> None:
    assert places.is_network(places.file_system(r"\\server\share\jobs.db"))
