-- What running jobs say, who is asked to stop, and whether a function is a coroutine function.

-- As decided at submit; NULL is for the worker to see.
ALTER TABLE job ADD COLUMN is_async INTEGER;

-- What a run printed and logged, in the order of its parts; the newest ones are kept.
CREATE TABLE output (
    job INTEGER NOT NULL,
    run INTEGER NOT NULL,
    part INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job, run, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
    job INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    done REAL NOT NULL,
    total REAL,
    message TEXT,
    at INTEGER NOT NULL
) STRICT;

-- Runs that are asked to stop; a row is void once its execution is not under way any more.
CREATE TABLE stop_request (
    job INTEGER PRIMARY KEY,
    execution TEXT NOT NULL,
    asked_at INTEGER NOT NULL
) STRICT;
