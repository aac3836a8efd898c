-- Queues that can be paused and limited; jobs that start later, expire, or have a deadline.

-- Not to be started from this moment on.
ALTER TABLE job ADD COLUMN expires_at INTEGER;
-- When it is over, whatever it is doing; and the time for that from its submission on, for a requeue.
ALTER TABLE job ADD COLUMN deadline_at INTEGER;
ALTER TABLE job ADD COLUMN deadline INTEGER;
-- Mark 4, of a pending job: the earlier of the two.
ALTER TABLE job ADD COLUMN ends_at INTEGER;
-- When it was last due, or requeued: its priority rises from then on, else from created_at.
ALTER TABLE job ADD COLUMN waits_since INTEGER;

CREATE INDEX job_ends ON job (ends_at) WHERE ends_at IS NOT NULL;

-- Queues that have settings; any other is open and without a limit.
CREATE TABLE queue (
    name TEXT PRIMARY KEY NOT NULL,
    paused_at INTEGER,
    reason TEXT,
    concurrency INTEGER CHECK (concurrency >= 1),
    ageing INTEGER CHECK (ageing >= 1)
) STRICT, WITHOUT ROWID;

-- JSON names of the queues that it serves; NULL for all.
ALTER TABLE worker ADD COLUMN queues TEXT;
