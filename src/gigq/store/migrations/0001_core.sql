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
