"""How SQLite goes about each statement: by the index that was made for it, whatever is in the tables.

A plan that walks over a whole table works in every other test, and fails people at a million jobs.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sqlite3
from pathlib import Path

import pytest
from clocks import TurnedClock
from limited import limited, share
from stores import Hands, new_job

from gigq import close_connections
from gigq.status import End
from gigq.store import Store, open_file, open_memory, statements
from gigq.store.connections import connect

# Statement -> what it goes through: ``alias:index``, where ``key`` is the primary key; ``alias:scan`` for all of a
# table (small ones only, or one row of it); ``sort:...`` for a sort by hand. What is not listed must not happen.
PLANS = {
    "peek": "job:job_due job:job_ends job:job_ready limit_key:limit_key_opens limit_line:key limit_line:limit_line_waits queue:scan unfinished:scan",
    "next_end": "job:job_ends",
    "ending": "job:job_ends",
    "expire": "job:key",
    "forget_ends": "job:key",
    "ready_from": "c:key job:job_ready s:key",
    "ready_among": "c:key job:job_ready s:key",
    "ready_priorities": "job:job_ready",
    "claim_choose_among": "j:key job:job_ready p:key sort:ORDER BY",
    "pause_queue": "",
    "resume_queue": "queue:key",
    "limit_queue": "",
    "age_queue": "",
    "forget_queue": "queue:key",
    "is_paused": "queue:key",
    "paused_queues": "queue:scan",
    "queues": "counts:scan queue:scan s:key sort:ORDER BY",
    "queue_counts": "counts:scan",
    "promote": "job:job_due job:key",
    "claim_choose": "j:key job:job_ready p:key",
    "claim_choose_without": "j:key job:job_ready p:key",
    "claim_take": "job:key",
    "settle_completed": "job:key",
    "settle_ended": "e:key job:key p:key u:key x:key",
    "record_completed": "job:key",
    "record_runs": "",
    "old_snoozes": "e:key",
    "drop_runs": "execution:key",
    "drop_output": "output:key",
    "count_dropped": "job:key",
    "supersede": "execution:key",
    "add_counts": "",
    "count_jobs": "job:key sort:GROUP BY",
    "hasten": "job:key",
    "last_seq": "s:scan",
    "known_ids": "j:sqlite_autoindex_job_1",
    "insert_job": "",
    "insert_job_params": "",
    "count_job": "",
    "insert_jobs": "",
    "insert_params": "",
    "insert_edges": "",
    "insert_annotations": "",
    "insert_tags": "",
    "recount": "e:key job:key p:key u:key",
    "doomed": "e:key k:key p:key sort:GROUP BY",
    "any_edge": "dependency:scan",
    "release_is_simple": "e:dependency_parent unfinished:key",
    "with_children": "e:dependency_parent",
    "release_all": "e:dependency_parent job:key sort:GROUP BY",
    "children": "e:dependency_parent j:key",
    "release_some": "job:key",
    "cancel": "job:key",
    "cancel_for_parent": "job:key p:key",
    "cancel_still_for": "job:key p:key",
    "requeue": "job:key",
    "give_way": "job:key",
    "is_stored": "job:sqlite_autoindex_job_1",
    "leave_slots": "job:key",
    "lock": "counts:scan",
    "lost_slots": "j:key",
    "redeclare": "job:key",
    "redeclare_params": "params:key",
    "regain_slot": "job:key",
    "shadowed": "t:scan",
    "slot_holders": "j:job_unique",
    "slot_holder": "j:job_unique",
    "insert_unique_job": "",
    "insert_unique_jobs": "",
    "leave_unfinished": "",
    "take_unfinished": "unfinished:scan",
    "forget_unfinished": "unfinished:key",
    "forget_news_of": "unfinished:scan",
    "is_reviving": "unfinished:key",
    "status_of": "job:key",
    "find": "job:sqlite_autoindex_job_1",
    "record": "e:key j:sqlite_autoindex_job_1 n:key p:key q:key s:key t:key w:key x:key",
    "explained": "counts:key e:key job:sqlite_autoindex_job_1 o:key p:key q:key r:job_ready s:key u:key w:key w:worker_area x:key",
    "executions": "e:key j:sqlite_autoindex_job_1 sort:ORDER BY w:key",
    "result": "job:sqlite_autoindex_job_1",
    "list_all": "e:key j:key m:key n:key p:key q:key s:key t:key w:key x:key",
    "list_status": "e:key j:job_status m:key n:key p:key q:key s:key t:key w:key x:key",
    "list_queue": "e:key j:job_queue m:key n:key p:key q:key s:key t:key w:key x:key",
    "list_tag": "e:key j:key m:key n:key p:key q:key s:key t:key w:key x:key",
    "floor_all": "job:key",
    "floor_status": "job:job_status",
    "floor_queue": "job:job_queue",
    "floor_tag": "tag:key",
    "counted": "counts:scan",
    "stats": "counts:scan sort:GROUP BY",
    "ids_beginning": "job:sqlite_autoindex_job_1",
    "clear_candidates": "c:key e:dependency_parent j:job_status u:scan",
    "clear_choose": "c:key e:dependency_parent j:key u:scan",
    "clear_keep_id": "dependency:dependency_parent dependency:key job:key",
    "clear_edges": "dependency:key",
    "retain": "",
    "retain_for_ever": "retention:key",
    "retention": "retention:scan",
    "sweep": "c:key e:dependency_parent j:job_status u:scan",
    "give_back": "",
    "space": "",
    "clear_executions": "execution:key",
    "clear_params": "params:key",
    "clear_tags": "n:key tag:key",
    "clear_annotations": "annotation:key",
    "clear_jobs": "job:key",
    "parents_of": "e:key p:key sort:ORDER BY",
    "parents_size": "e:key p:key sort:GROUP BY",
    "params": "params:key",
    "lease": "j:sqlite_autoindex_job_1 p:key",
    "running": "j:job_status",
    "held_imports": "job:job_held sort:DISTINCT",
    "release_held": "job:job_held job:key",
    "held_too_long": "job:job_held",
    "fail_held": "job:key",
    "register_worker": "b:worker_area worker:worker_area",
    "worker_just_registered": "worker:key",
    "forget_worker": "job:job_status worker:key",
    "retire_worker": "job:job_status worker:key",
    "live_workers": "worker:worker_area",
    "place": "place:scan",
    "take_place": "",
    "any_stop_request": "stop_request:scan",
    "ask_to_stop": "job:key",
    "claim_choose_kind": "j:key job:job_ready p:key",
    "clear_output": "output:key",
    "clear_progress": "progress:key",
    "forget_stops": "j:key stop_request:scan",
    "output_of": "job:sqlite_autoindex_job_1 o:key",
    "stop_requests": "j:key s:scan",
    "trim_output": "output:key",
    "write_output": "job:key",
    "write_progress": "job:key",
    "next_tick": "schedule:schedule_due",
    "schedules_due": "schedule:schedule_due",
    "schedule_named": "schedule:sqlite_autoindex_schedule_1",
    "schedule_list": "j:sqlite_autoindex_job_1 s:scan",
    "put_schedule": "",
    "pause_schedule": "schedule:sqlite_autoindex_schedule_1",
    "resume_schedule": "schedule:sqlite_autoindex_schedule_1",
    "drop_schedule": "schedule:sqlite_autoindex_schedule_1",
    "schedules_unchanged": "j:sqlite_autoindex_job_1 s:sqlite_autoindex_schedule_1",
    "last_job_of": "j:sqlite_autoindex_job_1 s:sqlite_autoindex_schedule_1",
    "ticks_taken": "j:job_tick",
    "mark_ticks": "job:sqlite_autoindex_job_1",
    "advance_schedules": "schedule:sqlite_autoindex_schedule_1",
    "note_last_job": "schedule:sqlite_autoindex_schedule_1",
    "put_off_schedules": "schedule:sqlite_autoindex_schedule_1",
    "declare_limits": "",
    "insert_lines": "",
    "insert_members": "k:sqlite_autoindex_limit_key_1 n:sqlite_autoindex_limit_line_1",
    "line_numbers": "n:sqlite_autoindex_limit_line_1",
    "stand_in_line": "job:key l:key",
    "leave_line": "job:key",
    "keys_that_open": "limit_key:limit_key_opens",
    "lines_to_look_at": "f:limit_line_waits l:key limit_line:limit_line_waits m:key w:key",
    "rooms_beside_admitted": "a:key h:key j:key k:key m:limit_member_key o:key s:key sort:GROUP BY",
    "note_holding": "",
    "forget_admitted": "admitted:key",
    "correct_starts": "limit_start:key m:key",
    "rooms": "h:key k:key o:key s:key",
    "starts_that_are_over": "k:key s:key",
    "forget_starts": "limit_start:key",
    "give_back_rate": "limit_key:key sort:GROUP BY",
    "first_in_lines": "j:key l:key w:job_line",
    "let_through": "job:key",
    "note_admitted": "",
    "put_lines": "limit_line:key",
    "put_keys": "limit_key:key",
    "limits_of": "j:key m:key",
    "note_starts": "",
    "use_rate": "l:limit_line_waits limit_key:key",
    "back_in_line": "job:key l:key",
    "let_go": "holding:key m:key",
    "open_keys": "limit_key:key m:key w:limit_line_waits",
    "any_start": "limit_start:scan",
    "starts_of": "m:key s:key",
    "back_off": "k:key limit_key:key m:key sort:GROUP BY",
    "set_limit": "",
    "reset_limit": "limit_key:sqlite_autoindex_limit_key_1",
    "limits_on": "h:key j:sqlite_autoindex_job_1 k:key l:key m:key o:key s:key w:job_line",
    "idle_lines": "j:job_of_line limit_line:key",
    "idle_keys": "limit_key:key m:limit_member_key s:key",
    "forget_lines": "j:job_of_line limit_line:key",
    "forget_members": "l:key limit_member:key",
    "forget_keys": "limit_key:key m:limit_member_key",
    "forget_starts_of": "k:key limit_start:key",
    "add_span": "",
    "add_workflow": "",
    "any_workflow": "workflow_span:scan",
    "clear_spans": "workflow_span:key j:key s:key",
    "clear_workflows": "workflow:key s:workflow_spans",
    "descends": "e:key j:sqlite_autoindex_job_1 p:key",
    "edges_of": "e:key p:key sort:ORDER BY",
    "ended_badly_of": "j:key",
    "grow_edges": "d:key j:key",
    "grow_parents": "job:key",
    "lengthen_span": "workflow_span:key",
    "span_last": "job:job_status",
    "span_next": "job:job_status",
    "span_of": "workflow_span:key",
    "spans_of": "workflow_span:workflow_spans",
    "still_pending": "j:job_status",
    "waiting_children": "e:dependency_parent j:key",
    "workflow": "workflow:sqlite_autoindex_workflow_1",
    "workflow_can_go_on": "e:key j:job_status p:key s:workflow_spans t:workflow_spans unfinished:scan",
    "workflow_counts": "j:job_status s:workflow_spans sort:GROUP BY",
    "workflow_ids_beginning": "workflow:sqlite_autoindex_workflow_1",
    "workflow_jobs": "e:key j:key n:key p:key q:key s:key s:workflow_spans t:key w:key x:key",
    "workflow_nodes": "j:key s:workflow_spans",
    "workflow_results": "j:key s:workflow_spans",
    "workflows": "workflow:scan",
    "workflows_of": "s:key t:key",
}

AT_LEISURE = frozenset(
    {
        "first_and_last",
        "held",
        "ids_ending",
        "integrity",
        "journal_mode",
        "limit_list",
        "overdue",
        "without_params",
        "without_slot",
        "worker_list",
        "workflow_ids_ending",
        "wrong_counts",
        "wrong_parents_left",
        "wrong_runs",
    }
)
"""What an operator asks now and then, and that may look at every row."""

LARGE = (
    "job",
    "params",
    "execution",
    "dependency",
    "limit_key",
    "limit_line",
    "limit_member",
    "limit_start",
    "admitted",
    "holding",
)
_questions = itertools.count()
READS_ONE_ROW = frozenset({"any_edge", "any_start"})
"""EXISTS stops at the first row."""


def texts() -> dict[str, str]:
    """Every statement that is one, not a piece of others."""
    whole = re.compile(r"(WITH|SELECT|INSERT|UPDATE|DELETE|PRAGMA)\b")
    return {name: text for name, text in statements.load().items() if whole.match(text)}


def meant(name: str) -> set[str]:
    """The plan of a statement in the table."""
    return set(re.findall(r"\w+:(?:\w+ BY|\w+)", PLANS[name]))


def plan(connection: sqlite3.Connection, text: str) -> set[str]:
    """What a statement goes through, in the words of ``PLANS``."""
    values = dict.fromkeys(re.findall(r":(\w+)", text)) or [None] * text.count("?")
    fresh = (
        f"EXPLAIN QUERY PLAN {text} /* {next(_questions)} */"  # a plan is not made again for the same text
    )
    lines = [str(row[3]) for row in connection.execute(fresh, values)]
    own = {line.split(" ", 1)[1] for line in lines if line.startswith(("CO-ROUTINE", "MATERIALIZE"))}
    steps = set()
    for line in lines:
        if line.startswith("USE TEMP B-TREE FOR "):
            steps.add("sort:" + line.removeprefix("USE TEMP B-TREE FOR "))
        elif match := re.match(r"(SCAN|SEARCH) (\S+) ?(.*)", line):
            how, alias, rest = match.groups()
            if alias not in own and alias != "CONSTANT" and "VIRTUAL TABLE" not in rest:
                steps.add(f"{alias}:{_index(how, rest)}")
    return steps


def _index(how: str, rest: str) -> str:
    index = re.search(r"USING (?:COVERING )?INDEX (\S+)", rest)
    if how == "SCAN":
        return "scan"
    return index[1] if index else "key" if "PRIMARY KEY" in rest else "scan"


def fill(hands: Hands, jobs: int) -> None:
    """Jobs in every state, with edges, history and marks."""
    hands.submit(*[new_job(f"p{n}", retry_delay=5 if n % 7 == 0 else 0) for n in range(jobs)])
    hands.submit(*[new_job(f"c{n}", [f"p{n % 50}", f"p{n}"]) for n in range(jobs)])
    leases = hands.claim(jobs // 2)
    ends: tuple[End, ...] = ("returned", "returned", "raised", "unavailable", "died")
    hands.exchange([hands.outcome(lease, ends[n % 5]) for n, lease in enumerate(leases[: jobs // 3])])
    hands.submit(
        *[
            limited(
                f"l{n}",
                share(f"key {n % 300}", 2),
                share("all", 9, (20, 60.0)),
                parents=[f"p{n}"] if n % 5 == 0 else [],
            )
            for n in range(jobs // 2)
        ]
    )
    hands.exchange([hands.outcome(lease) for lease in hands.claim(8)], want=20)
    hands.finish()


@pytest.fixture(
    scope="module",
    params=["empty", "filled", "filled and analyzed", "analyzed while empty"],
)
def connection(request: pytest.FixtureRequest) -> sqlite3.Connection:
    """A connection to tables of every kind."""
    hands = Hands(open_memory(), TurnedClock())
    hands.store.initialize()
    found = hands.store.engine.connection()
    if request.param == "analyzed while empty":
        found.execute("ANALYZE")
    if request.param != "empty":
        fill(hands, 1000)
    if request.param.endswith("and analyzed"):
        found.execute("ANALYZE")
    return found


def test_every_statement_is_in_the_table_or_is_asked_at_leisure() -> None:
    assert set(texts()) == set(PLANS) | AT_LEISURE


def test_no_plan_in_the_table_walks_over_a_large_table() -> None:
    aliases = {
        name: set(re.findall(rf"\b(?:{'|'.join(LARGE)}) AS (\w+)", text)) for name, text in texts().items()
    }
    for name, steps in PLANS.items():
        if name not in READS_ONE_ROW:
            large = aliases[name] | set(LARGE)
            assert not [
                step for step in steps.split() if step.partition(":") in {(a, ":", "scan") for a in large}
            ], name


@pytest.mark.parametrize("name", sorted(PLANS))
def test_the_plan_is_the_one_that_was_meant(connection: sqlite3.Connection, name: str) -> None:
    text = texts()[name]
    assert plan(connection, text) == meant(name), text


@pytest.mark.parametrize(
    "name",
    [
        "claim_choose",
        "ready_from",
        "ready_priorities",
        "ending",
        "peek",
        "promote",
        "list_all",
        "list_status",
        "list_queue",
        "list_tag",
        "children",
        "schedules_due",
        "schedule_list",
    ],
)
def test_the_order_comes_from_the_index(connection: sqlite3.Connection, name: str) -> None:
    assert not [step for step in plan(connection, texts()[name]) if step.startswith("sort:")]


def test_the_hot_statements_assign_no_column_of_an_index_for_features() -> None:
    """Each such assignment costs, also where the index is empty."""
    for name in ("settle_completed", "claim_take"):
        assigned = set(re.findall(r"(\w+) =", texts()[name].partition("WHERE")[0]))
        assert not assigned & {
            "due_at",
            "held_by",
            "held_since",
            "parents_left",
            "priority",
            "queue",
            "ends_at",
        }, name


def test_what_is_claimed_comes_from_the_partial_index_to_the_letter(connection: sqlite3.Connection) -> None:
    """Its condition and that of the claim are the same text, or SQLite would not use it."""
    [index] = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'job_ready'").fetchone()
    condition = " ".join(index.partition("WHERE")[2].split())
    assert condition == statements.load()["ready_where"]


def test_statistics_of_a_nearly_empty_queue_are_forgotten_when_it_is_opened(tmp_path: Path) -> None:
    """A browser of databases leaves them; with them a claim would walk over all params, once there are many."""
    path = str(tmp_path / "jobs.db")
    hands = Hands(open_file(path, "normal", create=True), TurnedClock())
    hands.submit("a")
    with contextlib.closing(sqlite3.connect(path)) as browser:
        browser.executescript("CREATE TABLE theirs (x UNIQUE); INSERT INTO theirs VALUES (1); ANALYZE")
    close_connections()
    with contextlib.closing(connect(path)) as misled:
        assert plan(misled, texts()["claim_choose"]) != meant("claim_choose")
        Store(hands.store.engine, create=False).initialize()
        hands_off = misled.execute("SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'params'").fetchone()
        assert tuple(hands_off) == (1,), "not by somebody who may not change the file"

        Store(hands.store.engine).initialize()
        assert [row[0] for row in misled.execute("SELECT DISTINCT tbl FROM sqlite_stat1")] == ["theirs"]
        own = hands.store.engine.connection()
        hands.sql("SELECT 1 FROM job")  # any statement makes a connection look at the schema again
        for name in PLANS:
            assert plan(misled, texts()[name]) == plan(own, texts()[name]) == meant(name), name
