"""K10: the power fails at any moment, and the disk keeps what it likes of all that was not synced; see power.py."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ledger
import power
import pytest
import tracer
from legacy import Old, state
from power import Record
from rig import TERMINAL, seed
from surroundings import mount, mounts_text

from gigq import Worker, close_connections

pytestmark = tracer.needed()


class Cuts:
    """Power cuts in one recorded run, and what was wrong after each."""

    def __init__(self, folder: Path, number: int | None = None) -> None:
        self.seed = seed() if number is None else number
        self.dice = random.Random(self.seed)
        self.folder = folder
        self.ledger = folder / "ledger of those who come after"
        self._images = 0

    def new_folder(self) -> Path:
        """For an image: the one before it goes, and a name is never used again, since inode numbers are."""
        shutil.rmtree(self.folder / f"image-{self._images}", ignore_errors=True)
        self._images += 1
        return self.folder / f"image-{self._images}"

    def record(self, start: Path | None = None, **options: Any) -> Record:
        where = self.folder / f"run-{len(list(self.folder.iterdir()))}"
        return power.record(where, {"seed": self.dice.randrange(10**9), **options}, start)

    def faults(self, seen: Record, number: int, *, full: bool) -> Iterator[tuple[int, list[str]]]:
        """For each cut what must not be."""
        for cut, image in seen.images(number, self.dice):
            found = power.look(power.lay(image, self.new_folder()))
            close_connections()
            yield cut, power.missing(seen, cut, found, full=full)

    def assert_none(self, seen: Record, number: int, *, full: bool) -> None:
        for cut, faults in self.faults(seen, number, full=full):
            assert not faults, f"power cut at {cut}: {faults[:5]}\nseed: GIGQ_SEED={self.seed}"


@pytest.fixture
def cuts(tmp_path: Path) -> Cuts:
    return Cuts(tmp_path)


def shared_folder(cuts: Cuts) -> str:
    """Made-up mounts, by which everything in the folder is shared into this machine."""
    text = cuts.folder / "mountinfo"
    text.write_text(mounts_text(mount(cuts.folder, "9p")), "utf-8")
    return str(text)


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_power_cut_loses_nothing_acknowledged(cuts: Cuts, durability: str) -> None:
    seen = cuts.record(jobs=40, durability=durability)
    cuts.assert_none(seen, 60, full=durability == "full")


def test_a_power_cut_on_a_shared_folder_loses_nothing_acknowledged(cuts: Cuts) -> None:
    seen = cuts.record(jobs=20, mounts=shared_folder(cuts))
    assert any(event.path.endswith("-journal") and event.call == "unlink" for event in seen.events)
    cuts.assert_none(seen, 60, full=True)


def test_without_the_syncs_loss_and_corruption_are_noticed(cuts: Cuts) -> None:
    """The rig can fail: what is promised is the doing of the syncs, and of the syncs of commits for ``full``."""
    seen = cuts.record(jobs=60, without=["fsync"])
    told = [fault for _, faults in cuts.faults(seen, 150, full=True) for fault in faults]
    assert any("is lost" in fault for fault in told), f"seed: GIGQ_SEED={cuts.seed}"
    assert any("corrupt" in fault for fault in told), f"seed: GIGQ_SEED={cuts.seed}"


def test_what_normal_may_lose_is_noticed_by_the_measure_of_full(cuts: Cuts) -> None:
    seen = cuts.record(jobs=40, durability="normal")
    told = [fault for _, faults in cuts.faults(seen, 60, full=True) for fault in faults]
    assert any("is lost" in fault for fault in told), f"seed: GIGQ_SEED={cuts.seed}"
    assert any("had ended as" in fault or "is not known any more" in fault for fault in told)


def assert_others_finish(cuts: Cuts, seen: Record, image: dict[str, bytes], cut: int) -> None:
    """Who comes after the restart brings everything to its end, and runs nothing again that was over."""
    told = f"power cut at {cut}\nseed: GIGQ_SEED={cuts.seed}"
    path = power.lay(image, cuts.new_folder())
    before = power.look(path).jobs
    over = {job for job, status in before.items() if status in TERMINAL}
    over |= {line.job for position, line in seen.said if position < cut and line.what == "settled:completed"}
    cuts.ledger.unlink(missing_ok=True)
    worker = Worker(path)
    while worker.process_one():
        pass
    worker.close()
    after = power.look(path)
    assert after.broken is None, f"{after.broken}: {told}"
    assert list(after.jobs) == list(before), told
    assert set(after.jobs.values()) <= {"completed", "cancelled"}, f"{after.jobs}: {told}"
    lines = ledger.parse(cuts.ledger.read_text()) if cuts.ledger.exists() else []
    assert not {line.job for line in lines} & over, told
    close_connections()


@pytest.fixture
def another_boot(cuts: Cuts, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is one that came after the restart, and runs jobs of the torture."""
    monkeypatch.setattr("gigq.ids.boot_id", lambda: "the next boot")
    monkeypatch.setenv(ledger.VARIABLE, str(cuts.ledger))


@pytest.mark.usefixtures("another_boot")
@pytest.mark.parametrize("number", [8, pytest.param(200, marks=pytest.mark.torture)])
def test_who_comes_after_a_power_cut_finishes_what_is_there(cuts: Cuts, number: int) -> None:
    seen = cuts.record(jobs=max(15, number))
    for cut, image in seen.images(number, cuts.dice):
        assert_others_finish(cuts, seen, image, cut)


# -- while the tables are made ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "number"),
    [
        ("0.5.1", 60),
        *(pytest.param(old, 500, marks=pytest.mark.torture) for old in ("0.1.0", "0.2.1", "0.5.1")),
    ],
)
def test_a_power_cut_in_a_migration_leaves_the_old_file_or_the_new_one(
    cuts: Cuts, release: str, number: int
) -> None:
    (cuts.folder / "old").mkdir()
    old = Old(release, cuts.folder / "old")
    before = old.sql("SELECT * FROM jobs ORDER BY rowid")
    statuses = dict(old.sql("SELECT id, status FROM jobs ORDER BY rowid"))
    seen = cuts.record(jobs=3, work=False, start=Path(old.path))
    submitted = {job for _, _, jobs in seen.groups() for job in jobs}
    states = []
    for cut, image in seen.images(number, cuts.dice):
        path = power.lay(image, cuts.new_folder())
        states.append(state(path, before))
        found = power.look(path)
        told = f"power cut at {cut}: {found.broken}\nseed: GIGQ_SEED={cuts.seed}"
        assert found.broken is None, told
        assert {job: status for job, status in found.jobs.items() if job not in submitted} == statuses, told
        own = power.Found({job: status for job, status in found.jobs.items() if job in submitted}, set())
        assert not power.missing(seen, cut, own, full=True), told
        close_connections()
    print(f"{release}: {states.count('old')} old, {states.count('new')} new; seed {cuts.seed}")
    assert set(states) == {"old", "new"}


# -- the long form ----------------------------------------------------------------------------------------------------


@pytest.mark.torture
@pytest.mark.parametrize(("durability", "shared"), [("full", False), ("normal", False), ("full", True)])
def test_two_thousand_power_cuts(cuts: Cuts, durability: str, shared: bool) -> None:
    mounts = shared_folder(cuts) if shared else None
    seen = cuts.record(jobs=500, durability=durability, mounts=mounts, checkpoint_at=400)
    copies = sum(event.call == "fdatasync" and event.path.endswith("/jobs.db") for event in seen.events)
    assert copies > 5, "no checkpoint in the middle"
    cuts.assert_none(seen, 2000, full=durability == "full")
    print(
        f"{durability}{' on a shared folder' if shared else ''}: 2000 cuts of a run of {len(seen.events)} calls, "
        f"{len(seen.groups())} submits, {copies} syncs of the database file; seed {cuts.seed}"
    )
