-- Schedules: what makes jobs when their time has come.

-- Of the schedule that made it, by name, and the tick that it was made for.
ALTER TABLE job ADD COLUMN schedule TEXT;
ALTER TABLE job ADD COLUMN tick INTEGER;
-- No tick has two jobs.
CREATE UNIQUE INDEX job_tick ON job (schedule, tick) WHERE schedule IS NOT NULL;

CREATE TABLE schedule (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL DEFAULT 1,     -- counts the changes of what was declared
    rule TEXT NOT NULL,                      -- JSON: cron, every or at; timezone, start, end
    misfire TEXT NOT NULL CHECK (misfire IN ('skip', 'once', 'all')),
    catch_up INTEGER NOT NULL,               -- missed ticks that misfire 'all' makes good
    overlap TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'allow')),
    job TEXT NOT NULL,                       -- JSON: the row of a job; its moments count from the tick
    anchor INTEGER NOT NULL,                 -- what an interval without a start counts from: when the rule came
    paused INTEGER NOT NULL DEFAULT 0,
    tick_at INTEGER,                         -- the next tick; NULL while it is paused, and when none comes
    due_at INTEGER,                          -- when to see to it: at the tick, or later if that failed
    last_tick INTEGER,
    last_job TEXT,                           -- id of the job made last, for whatever tick
    skipped_at INTEGER,                      -- the last tick without a job
    skipped_for TEXT,                        -- misfire, overlap or unique
    error TEXT,                              -- why the next tick has no job yet
    error_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX schedule_due ON schedule (due_at) WHERE due_at IS NOT NULL;
