"""The benchmarks run, and notice when a job is lost. How fast anything is, is not asked here."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
from benchmarks import chart, exact, markdown, report, runner
from benchmarks.peers import roster
from benchmarks.peers.peer import Peer, PeerMissing, Server
from benchmarks.peers.servers import Servers
from benchmarks.plan import FLOOR, OURS, Contender, Quantity, Sample, Workload
from benchmarks.runner import Measured, Series
from benchmarks.workloads import all_of_them

PROJECT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def sample(function: str, folder: Path, /, **arguments: Any) -> dict[str, Any]:
    """What one contender measured."""
    process = run("benchmarks.child", function, json.dumps({"folder": str(folder), **arguments}))
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout.rpartition("sample: ")[2])
    return found


def test_the_workloads_that_the_plan_names_are_listed() -> None:
    listed = run("benchmarks", "--list")
    assert listed.returncode == 0, listed.stderr
    for name in (
        "submit-1",
        "submit-bulk",
        "drain-thread",
        "drain-process-1",
        "drain-process-2",
        "drain-async",
        "drain-2k",
        "drain-20k",
        "depth",
        "latency",
        "graph",
        "reads",
        "contention",
        "crash",
        "footprint-idle",
        "footprint-import",
    ):
        assert name in listed.stdout


def test_an_unknown_workload_is_refused_by_name() -> None:
    refused = run("benchmarks", "nonsense")
    assert refused.returncode == 1
    assert "nonsense" in refused.stderr


def test_an_unknown_server_is_refused_by_name() -> None:
    refused = run("benchmarks", "--list", "--peers", "redis,kafka")
    assert refused.returncode == 2
    assert "kafka" in refused.stderr


def test_figures_of_a_part_cannot_replace_all() -> None:
    refused = run("benchmarks", "drain", "--publish")
    assert refused.returncode == 2
    assert "name no workload" in refused.stderr


def test_every_contender_names_a_function_that_exists() -> None:
    for quick in (True, False):
        for workload in all_of_them(quick=quick, servers=frozenset(get_args(Server))):
            for contender in workload.contenders:
                module, _, name = contender.function.partition(":")
                assert callable(getattr(importlib.import_module(module), name)), contender


@pytest.mark.parametrize("peer", roster.everybody(), ids=lambda peer: peer.name)
def test_a_peer_is_pinned_and_says_what_it_promises(peer: Peer) -> None:
    assert callable(importlib.import_module(peer.module).submit_and_drain)
    assert all("==" in requirement for requirement in peer.requires)
    assert peer.submit
    assert peer.drain
    assert peer.settings


_SAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("drain:plain", {"count": 300, "threads": 2}),
    ("drain:plain", {"count": 30, "function": "tick_async"}),
    ("drain:plain", {"count": 30, "size": 2000}),
    ("drain:two_workers", {"count": 300, "head_start": 0.5}),
    ("drain:beside_a_spinning_job", {"count": 50}),
    ("drain:bare", {"count": 300}),
    ("drain:bare", {"count": 30, "size": 2000}),
    ("drain:bare_beside_a_spinning_thread", {"count": 50}),
    ("submit:one_by_one", {"count": 20, "durability": "normal"}),
    ("submit:bare_one_by_one", {"count": 20, "durability": "normal"}),
    ("submit:from_threads", {"count": 64}),
    ("submit:bare_in_groups", {"count": 64}),
    ("submit:bulk", {"count": 300}),
    ("submit:bare_bulk", {"count": 300, "array": True}),
    ("graph:through_api", {"branches": 2, "width": 20}),
    ("graph:bare", {"branches": 2, "width": 20}),
    ("depth:claims", {"backlog": 200, "claims": 5, "batches": 2}),
    ("depth:bare_claims", {"backlog": 200, "claims": 5, "batches": 2}),
    ("reads:ours", {"times": 2, "part": 0.001}),
    ("latency:through_api", {"seconds": 0.5, "head_start": 0.1}),
    ("latency:bare", {"seconds": 0.5, "head_start": 0.1}),
    ("crash:killed", {"times": 1, "head_start": 0.5}),
    ("contention:through_api", {"seconds": 1, "submitters": 2, "workers": 1, "head_start": 0.5}),
    ("contention:bare", {"seconds": 1, "submitters": 2, "workers": 1, "head_start": 0.5}),
]
_WITHOUT_JOBS: list[tuple[str, dict[str, Any]]] = [
    ("reads:bare", {"times": 2, "part": 0.001}),
    ("idle:watched", {"seconds": 1, "settle": 0.5}),
    ("startup:above_bare", {"times": 1}),
]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Any]]:
    """The smallest form of every workload, some at a time: most of it is waiting."""
    found = {}
    with ThreadPoolExecutor(4) as pool:
        for function, arguments in _SAMPLES + _WITHOUT_JOBS:
            folder = tmp_path_factory.mktemp("outer") / "sample"
            folder.mkdir()
            found[_name(function, arguments)] = pool.submit(
                sample, f"benchmarks.workloads.{function}", folder, **arguments
            )
    return found


def _name(function: str, arguments: dict[str, Any]) -> str:
    return f"{function} {arguments}"


@pytest.mark.parametrize(("function", "arguments"), _SAMPLES)
def test_a_small_sample_delivers_every_job_once(
    function: str, arguments: dict[str, Any], samples: dict[str, Future[Any]]
) -> None:
    found = samples[_name(function, arguments)].result()
    assert found["values"]
    assert all(value >= 0 for value in found["values"].values())
    assert any(word in found["exact"] for word in ("jobs", "claims", "right"))


@pytest.mark.parametrize(("function", "arguments"), _WITHOUT_JOBS)
def test_a_small_sample_measures_what_delivers_no_jobs(
    function: str, arguments: dict[str, Any], samples: dict[str, Future[Any]]
) -> None:
    assert samples[_name(function, arguments)].result()["values"]


def test_calls_of_a_peer_are_counted_one_by_one() -> None:
    assert "each once" in exact.check_calls(3, [2, 0, 1])
    for calls in ([0, 1], [0, 1, 1], [0, 1, 2, 2], [0, 1, 3]):
        with pytest.raises(exact.NotExact, match="3 submitted"):
            exact.check_calls(3, calls)


def test_a_lost_job_is_noticed(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from benchmarks import api, exact\n"
        "api.submit(api.open_queue(sys.argv[1]), api.make_jobs(3))\n"
        "exact.check(sys.argv[1], 3)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "jobs.db")]
    checked = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert "NotExact: 3 submitted: 3 jobs, 0 completed" in checked.stderr


# -- what is made of the samples ---------------------------------------------------------------------------------

_RATE = Quantity("rate", "drained", "jobs/s", reach=100, of_floor=0.5)


def measured(name: str, **rates: list[float]) -> Measured:
    contenders = {who: Contender(who.replace("_", " "), "m:f", promise=f"{who} | promises") for who in rates}
    workload = Workload(name, "a drain", (_RATE,), tuple(contenders.values()))
    made = [
        Series(contenders[who], [Sample({"rate": rate}, "1 job") for rate in values])
        for who, values in rates.items()
    ]
    return Measured(workload, made)


def test_ratios_are_of_the_same_round_and_decide_with_the_median() -> None:
    found = measured("drain-thread", gigq=[100, 200, 400], bare_loop=[400, 400, 400])
    ours = found.of(OURS)
    assert ours is not None
    assert found.of(FLOOR) is not None
    assert found.ratios(ours, _RATE) == [0.25, 0.5, 1.0]
    assert found.reached(_RATE) is True


def test_what_cannot_be_measured_is_said_and_is_no_failure(tmp_path: Path) -> None:
    needy = Contender(OURS, "benchmarks.workloads.drain:plain", {"count": 1}, needs="a_thing_to_come")
    workload = Workload("w", "w", (_RATE,), (needy,))
    with Servers(tmp_path) as servers:
        found = runner.measure(workload, 1, tmp_path, servers, lambda _: None)
    assert found.series[0].trouble is None
    assert "a_thing_to_come" in markdown.page({}, "quick", 1, [found])


def test_a_server_that_is_not_there_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with Servers(tmp_path) as servers:
        for _ in range(2):
            with pytest.raises(PeerMissing, match="apt-get install redis-server"):
                servers.fresh("redis")


def test_a_failed_sample_stops_its_contender_only_and_is_published_without_paths(tmp_path: Path) -> None:
    wrong = Contender("wrong", "benchmarks.workloads.drain:plain", {"counts": 1})
    right = Contender(OURS, "benchmarks.workloads.drain:plain", {"count": 5})
    with Servers(tmp_path) as servers:
        found = runner.measure(
            Workload("w", "w", (_RATE,), (wrong, right)), 1, tmp_path, servers, lambda _: None
        )
    assert len(found.series[1].samples) == 1
    told = json.dumps(report.as_json({}, "quick", [found])) + markdown.page({}, "quick", 1, [found])
    assert "TypeError" in told
    assert str(PROJECT) not in told
    assert str(tmp_path) not in told


def test_the_page_has_every_figure_and_promise() -> None:
    page = markdown.page(
        {"cores": 2}, "quick", 3, [measured("drain-thread", gigq=[90, 60], bare_loop=[100, 120])]
    )
    assert "cores 2" in page
    assert (
        "| drained | gigq | 75.0 jobs/s | 60.0 - 90.0 | 0.70 | missed: >= 100, >= 0.50 of the bare loop |"
        in page
    )
    assert "gigq \\| promises" in page


def test_figures_go_between_their_marks_and_nowhere_else() -> None:
    text = f"by hand\n{markdown.BEGIN}\nold\n{markdown.END}\nby hand too\n"
    new = markdown.put_into(text, "new")
    assert "old" not in new
    assert new.startswith("by hand\n")
    assert new.endswith("\nby hand too\n")
    assert markdown.put_into(new, "new") == new
    with pytest.raises(ValueError, match="marks"):
        markdown.put_into("no marks", "new")


def test_the_page_of_the_benchmarks_has_the_marks() -> None:
    markdown.put_into((PROJECT / "BENCHMARKS.md").read_text(), "")


def test_a_chart_is_well_formed_and_longer_bars_are_more() -> None:
    found = measured("drain-thread", gigq=[1000, 3000, 2000], bare_loop=[20000], a_peer=[50])
    drawn = chart.draw_all([found])
    assert set(drawn) == {"drain.svg"}
    root = ET.fromstring(drawn["drain.svg"])
    space = "{http://www.w3.org/2000/svg}"
    bars = [rect for rect in root.iter(f"{space}rect") if rect.find(f"{space}title") is not None]
    titles = [(rect.find(f"{space}title").text or "") for rect in bars]  # type: ignore[union-attr]
    assert [title.partition(":")[0] for title in titles] == ["bare loop", "gigq", "a peer"]
    widths = [float(rect.attrib["width"]) for rect in bars]
    assert widths == sorted(widths, reverse=True)
    assert ">2,000<" in drawn["drain.svg"]


def test_a_chart_shows_who_survives_a_power_cut() -> None:
    durable, fragile = (
        next(peer for peer in roster.everybody() if peer.durable is wanted) for wanted in (True, False)
    )
    found = measured("submit-1", gigq=[10], one=[10], two=[10])
    for series, peer in zip(found.series[1:], (durable, fragile), strict=True):
        series.contender = dataclasses.replace(series.contender, peer=peer)
    assert {bar.who: bar.kind for bar in chart.bars(found)} == {
        "gigq": "ours",
        "one": "durable",
        "two": "fragile",
    }


def test_a_floor_alone_is_no_chart() -> None:
    assert chart.draw_all([measured("drain-process-1", bare_loop=[10])]) == {}
