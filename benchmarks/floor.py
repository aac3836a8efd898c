"""The bare loop: what SQLite alone allows, with our tables and as few statements as the same work can have.

No API, no values to check, no threads, no gate, no signals, no timeouts: claim, settle and record, with the settings
of ``durability``. Independent of ``gigq.store`` but for the tables themselves.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import uuid_utils

from benchmarks.jobs import tick

BATCH = 512

_COUNT = """
INSERT INTO counts (queue, status, n)
SELECT 'default', json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?1) WHERE true
ON CONFLICT (queue, status) DO UPDATE SET n = n + excluded.n
"""
_INSERT = """
INSERT INTO job (id, status, name, function_module, function_name, priority, wants_parents, parents, parents_left,
    timeout, description, created_at, updated_at)
VALUES (?1, 'pending', 'tick', 'benchmarks.jobs', 'tick', 0, 0, ?2, ?2, 300000000, '', ?3, ?3)
"""
_INSERT_ARRAY = """
INSERT INTO job (seq, id, status, name, function_module, function_name, priority, wants_parents,
    timeout, description, created_at, updated_at)
SELECT ?1 + key, value, 'pending', 'tick', 'benchmarks.jobs', 'tick', 0, 0, 300000000, '', ?3, ?3
FROM json_each(?2)
"""
_INSERT_PARAMS = "INSERT INTO params (seq, body) VALUES (?, ?)"
_INSERT_PARAMS_ARRAY = "INSERT INTO params (seq, body) SELECT ?1 + key, value FROM json_each(?2)"
_INSERT_EDGE = "INSERT INTO dependency (child, position, parent) VALUES (?, ?, ?)"
_CHOOSE = """
SELECT json_group_array(json_array(r.seq, p.body)) FROM (
    SELECT seq FROM job
    WHERE queue = 'default' AND status = 'pending' AND parents_left = 0 AND due_at IS NULL AND held_by IS NULL
    ORDER BY priority DESC, seq LIMIT ?1
) AS r CROSS JOIN params AS p ON p.seq = r.seq
"""
_TAKE = """
UPDATE job SET status = 'running', execution_id = ?1 || '-' || seq, worker = 1, started_at = ?2, updated_at = ?2
WHERE seq IN (SELECT value FROM json_each(?3))
"""
_SETTLE = """
UPDATE job SET status = 'completed', result = json_extract(o.value, '$[2]'), attempts = attempts + 1,
    runs = runs + 1, completed_at = ?2, updated_at = ?2
FROM json_each(?1) AS o
WHERE job.seq = json_extract(o.value, '$[0]') AND job.execution_id = json_extract(o.value, '$[1]')
    AND +job.status = 'running'
"""
_RECORD = """
INSERT INTO execution (job, run, id, worker, status, started_at, completed_at)
SELECT json_extract(value, '$[0]'), 1, json_extract(value, '$[1]'), 1, 'completed', ?2, ?2 FROM json_each(?1)
"""
_RELEASE = """
UPDATE job SET parents_left = parents_left - r.n FROM (
    SELECT e.child AS child, count(*) AS n FROM json_each(?1) AS o
    CROSS JOIN dependency AS e ON e.parent = json_extract(o.value, '$[0]') GROUP BY e.child
) AS r WHERE job.seq = r.child
"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def connect(path: str, durability: str = "full") -> sqlite3.Connection:
    """A connection to a queue's file, whose tables are made if there are none."""
    from gigq.store import open_file

    open_file(path, "full", create=True).initialize()
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute(f"PRAGMA synchronous = {durability}")
    return connection


def now() -> int:
    return time.time_ns() // 1000


def insert_one(connection: sqlite3.Connection, **params: Any) -> None:
    """A durable insert of one job: what ``submit`` cannot do without."""
    body = json.dumps(params)
    moment = now()
    connection.execute("BEGIN IMMEDIATE")
    seq = connection.execute(_INSERT, (str(uuid_utils.uuid7()), 0, moment)).lastrowid
    connection.execute(_INSERT_PARAMS, (seq, body))
    connection.execute(_COUNT, ('[["pending",1]]',))
    connection.execute("COMMIT")


def insert_many(connection: sqlite3.Connection, ids: list[str], bodies: list[str], first: int = 1) -> None:
    """The usual bulk insert: ``executemany``, one transaction; ``first`` is the number of the first row."""
    moment = now()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT, [(text, 0, moment) for text in ids])
    connection.executemany(_INSERT_PARAMS, enumerate(bodies, start=first))
    _add_pending(connection, len(ids))
    connection.execute("COMMIT")


def insert_array(
    connection: sqlite3.Connection, ids: list[str], bodies: list[str], piece: int = 5000
) -> None:
    """The fastest bulk insert there is: all jobs alike, a JSON array of ids, one of params."""
    moment = now()
    connection.execute("BEGIN IMMEDIATE")
    for start in range(0, len(ids), piece):
        listed = _encode(ids[start : start + piece]).decode()
        connection.execute(_INSERT_ARRAY, (start + 1, listed, moment))
        listed = _encode(bodies[start : start + piece]).decode()
        connection.execute(_INSERT_PARAMS_ARRAY, (start + 1, listed))
    _add_pending(connection, len(ids))
    connection.execute("COMMIT")


def insert_graph(connection: sqlite3.Connection, parents: list[list[int]]) -> None:
    """Jobs with edges: for each job the places of its parents."""
    moment = now()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT, [(str(uuid_utils.uuid7()), len(those), moment) for those in parents])
    connection.executemany(_INSERT_PARAMS, ((n + 1, json.dumps({"n": n})) for n in range(len(parents))))
    connection.executemany(
        _INSERT_EDGE,
        (
            (child + 1, position, parent + 1)
            for child, those in enumerate(parents)
            for position, parent in enumerate(those)
        ),
    )
    _add_pending(connection, len(parents))
    connection.execute("COMMIT")


def _add_pending(connection: sqlite3.Connection, count: int) -> None:
    connection.execute(_COUNT, (json.dumps([["pending", count]]),))


def claim(connection: sqlite3.Connection, token: str, want: int) -> list[tuple[int, str, str]]:
    """Within a transaction: seq, execution id and params of the best ready jobs."""
    chosen = _decode(connection.execute(_CHOOSE, (want,)).fetchone()[0])
    if chosen:
        seqs = _encode([seq for seq, _ in chosen]).decode()
        connection.execute(_TAKE, (token, now(), seqs))
    return [(seq, f"{token}-{seq}", body) for seq, body in chosen]


def drain(
    connection: sqlite3.Connection,
    *,
    graph: bool = False,
    is_over: Callable[[], bool] | None = None,
    call: Callable[..., Any] = tick,
    nap: float = 0.002,
) -> int:
    """Claim, run, settle and record until nothing is ready, and until it ``is_over``; how many ran.

    ``nap`` is how long it sleeps where nothing is ready.
    """
    held: list[tuple[int, str, str]] = []
    ran = turn = 0
    while True:
        outcomes = _encode([(seq, lease, _run(call, body)) for seq, lease, body in held]).decode()
        turn += 1
        connection.execute("BEGIN IMMEDIATE")
        if held:
            _settle(connection, outcomes, len(held), graph=graph)
        settled = len(held)
        held = claim(connection, f"{os.getpid():08x}{turn:08x}", BATCH)
        changes = [("pending", -len(held)), ("running", len(held) - settled), ("completed", settled)]
        connection.execute(_COUNT, (_encode(changes).decode(),))
        connection.execute("COMMIT")
        ran += settled
        if not held and not settled:
            if is_over is None or is_over():
                return ran
            time.sleep(nap)


def _settle(connection: sqlite3.Connection, outcomes: str, count: int, *, graph: bool) -> None:
    moment = now()
    if connection.execute(_SETTLE, (outcomes, moment)).rowcount != count:
        raise RuntimeError("a lease was lost")
    connection.execute(_RECORD, (outcomes, moment))
    if graph:
        connection.execute(_RELEASE, (outcomes,))


def _run(call: Callable[..., Any], body: str) -> str:
    return _encode(call(**_decode(body))).decode()


def ids(count: int) -> list[str]:
    return [str(uuid_utils.uuid7()) for _ in range(count)]


def bodies(numbers: Iterable[int]) -> list[str]:
    return [json.dumps({"n": n}) for n in numbers]


def texts(text: Callable[[int], str], count: int) -> list[str]:
    return [json.dumps({"text": text(n)}) for n in range(count)]
