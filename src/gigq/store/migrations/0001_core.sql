-- The core: jobs, their params, their ended runs, the graph, the workers, the counts.
-- Times are microseconds UTC, durations microseconds.

CREATE TABLE job (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,   -- order of submission; never used again
    id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL DEFAULT 'default',
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled', 'timeout')),
    priority INTEGER NOT NULL DEFAULT 0,
    parents_left INTEGER NOT NULL DEFAULT 0, -- mark 1: parents it still waits for
    due_at INTEGER,                          -- mark 2: not before this moment
    held_by TEXT,                            -- mark 3: what keeps it, e.g. import:<module>
    held_since INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,     -- charged ones; the run under way is not among them
    crashes INTEGER NOT NULL DEFAULT 0,
    runs INTEGER NOT NULL DEFAULT 0,         -- rows in execution
    execution_id TEXT,                       -- the lease, or the last one
    worker INTEGER,                          -- number in worker; negative for one of gigq 0.5.1
    name TEXT NOT NULL,
    function_module TEXT NOT NULL,
    function_name TEXT NOT NULL,
    script TEXT,                             -- where __main__ was
    parents INTEGER NOT NULL DEFAULT 0,      -- how many dependencies were declared
    on_parent_failure TEXT NOT NULL DEFAULT 'cancel' CHECK (on_parent_failure IN ('cancel', 'run', 'wait')),
    cancelled_for INTEGER,                   -- the parent for whose sake it was cancelled
    pass_parent_results INTEGER,             -- as declared: NULL is auto
    wants_parents INTEGER,                   -- as decided at submit: NULL is for the worker to see
    max_attempts INTEGER NOT NULL DEFAULT 3,
    max_crashes INTEGER NOT NULL DEFAULT 3,
    timeout INTEGER,
    retry_delay INTEGER NOT NULL DEFAULT 0,
    description TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    result TEXT,
    error TEXT
) STRICT;

-- Holds only what can run now: a claim never walks over a job that cannot.
CREATE INDEX job_ready ON job (queue, priority DESC, seq)
    WHERE status = 'pending' AND parents_left = 0 AND due_at IS NULL AND held_by IS NULL;
-- Lists by status, the running ones, and what may be cleared. One full index instead of four partial ones.
CREATE INDEX job_status ON job (status, seq);
CREATE INDEX job_due ON job (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX job_held ON job (held_by, seq) WHERE held_by IS NOT NULL;

CREATE TABLE params (
    seq INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE execution (
    job INTEGER NOT NULL,
    run INTEGER NOT NULL,
    id TEXT NOT NULL,
    worker INTEGER,
    worker_id TEXT,                          -- only for runs taken over from gigq 0.5.1
    status TEXT NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    result TEXT,                             -- only for runs taken over from gigq 0.5.1
    error TEXT,
    PRIMARY KEY (job, run)
) STRICT, WITHOUT ROWID;

CREATE TABLE dependency (
    child INTEGER NOT NULL,
    position INTEGER NOT NULL,
    parent INTEGER,                          -- NULL once the parent was cleared
    parent_id TEXT,                          -- its id, kept when it was cleared
    PRIMARY KEY (child, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX dependency_parent ON dependency (parent, child) WHERE parent IS NOT NULL;

CREATE TABLE worker (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    worker_id TEXT NOT NULL,
    area INTEGER,                            -- where in the sidecar its start marks are; NULL once it ended
    pid INTEGER NOT NULL,
    birth TEXT,                              -- when the process started, as its kernel tells it
    host TEXT NOT NULL,
    boot TEXT NOT NULL,
    sidecar TEXT NOT NULL,                   -- device and inode of the sidecar it holds its life lock on
    started_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE UNIQUE INDEX worker_area ON worker (area) WHERE area IS NOT NULL;

-- On a shared folder (FUSE, 9p) the one host that works on the file; elsewhere no row.
CREATE TABLE place (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    host TEXT NOT NULL,
    boot TEXT NOT NULL
) STRICT;

CREATE TABLE counts (
    queue TEXT NOT NULL,
    status TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (queue, status)
) STRICT, WITHOUT ROWID;

-- Work on the graph that was too large for one transaction: any worker goes on from the cursor.
CREATE TABLE unfinished (
    kind TEXT NOT NULL CHECK (kind IN ('ended', 'revived')),
    parent INTEGER NOT NULL,
    cursor INTEGER NOT NULL,                 -- the last child that is done
    PRIMARY KEY (kind, parent)
) STRICT, WITHOUT ROWID;

-- The shape in which gigq 0.5.1 had its tables, to be read by people's own SQL.
CREATE VIEW IF NOT EXISTS jobs AS
SELECT
    j.id AS id,
    j.name AS name,
    j.function_name AS function_name,
    j.function_module AS function_module,
    (SELECT p.body FROM params AS p WHERE p.seq = j.seq) AS params,
    j.priority AS priority,
    CASE WHEN j.parents = 0 THEN '[]' ELSE (
        SELECT json_group_array(d.id) FROM (
            SELECT coalesce(e.parent_id, (SELECT q.id FROM job AS q WHERE q.seq = e.parent)) AS id
            FROM dependency AS e WHERE e.child = j.seq ORDER BY e.position
        ) AS d
    ) END AS dependencies,
    j.max_attempts AS max_attempts,
    CASE WHEN j.timeout % 1000000 = 0 THEN j.timeout / 1000000 ELSE j.timeout / 1000000.0 END AS timeout,
    j.description AS description,
    j.status AS status,
    strftime('%Y-%m-%dT%H:%M:%S', j.created_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.created_at % 1000000) AS created_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.updated_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.updated_at % 1000000) AS updated_at,
    j.attempts + (j.status = 'running') AS attempts,
    j.result AS result,
    j.error AS error,
    strftime('%Y-%m-%dT%H:%M:%S', j.started_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.started_at % 1000000) AS started_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.completed_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.completed_at % 1000000) AS completed_at,
    CASE WHEN j.status = 'running' THEN (
        SELECT w.worker_id FROM worker AS w WHERE w.number = j.worker
    ) END AS worker_id,
    j.pass_parent_results AS pass_parent_results,
    CASE WHEN j.retry_delay % 1000000 = 0 THEN j.retry_delay / 1000000
        ELSE j.retry_delay / 1000000.0 END AS retry_delay,
    strftime('%Y-%m-%dT%H:%M:%S', j.due_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.due_at % 1000000) AS retry_after,
    j.queue AS queue,
    j.on_parent_failure AS on_parent_failure,
    j.crashes AS crashes,
    j.max_crashes AS max_crashes,
    j.parents_left AS parents_left,
    j.held_by AS held_by,
    j.seq AS seq
FROM job AS j;

CREATE VIEW IF NOT EXISTS job_executions AS
SELECT
    e.id AS id,
    j.id AS job_id,
    coalesce((SELECT w.worker_id FROM worker AS w WHERE w.number = e.worker), e.worker_id) AS worker_id,
    e.status AS status,
    strftime('%Y-%m-%dT%H:%M:%S', e.started_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', e.started_at % 1000000) AS started_at,
    strftime('%Y-%m-%dT%H:%M:%S', e.completed_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', e.completed_at % 1000000) AS completed_at,
    CASE WHEN e.status = 'completed' AND e.run = j.runs AND j.status = 'completed' THEN j.result
        ELSE e.result END AS result,
    e.error AS error,
    e.run AS run
FROM execution AS e JOIN job AS j ON j.seq = e.job
UNION ALL
SELECT
    j.execution_id, j.id,
    (SELECT w.worker_id FROM worker AS w WHERE w.number = j.worker),
    'running',
    strftime('%Y-%m-%dT%H:%M:%S', j.started_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.started_at % 1000000),
    NULL, NULL, NULL, j.runs + 1
FROM job AS j WHERE j.status = 'running';
