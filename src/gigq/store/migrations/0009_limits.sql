-- Limits by key: how many jobs run at once, and how many start within a time.

-- The line in which a job waits for its limits; NULL for one without any, which none of this touches.
ALTER TABLE job ADD COLUMN line INTEGER;
-- What it takes of each of them, as JSON, in the order of limit_member; NULL for 1 of each.
ALTER TABLE job ADD COLUMN costs TEXT;

CREATE TABLE limit_key (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    concurrency INTEGER,                     -- in force, as is the rate: amount in each time of length per
    amount INTEGER,
    per INTEGER,
    declared_concurrency INTEGER,            -- as the newest job declared it
    declared_amount INTEGER,
    declared_per INTEGER,
    concurrency_is_set INTEGER NOT NULL DEFAULT 0, -- by an operator, whatever jobs declare
    rate_is_set INTEGER NOT NULL DEFAULT 0,
    used INTEGER NOT NULL DEFAULT 0,         -- what its rows in limit_start cost
    backs_off_until INTEGER,
    is_crowded INTEGER NOT NULL DEFAULT 0,   -- enough was let through for now: the next claim opens it
    opens_at INTEGER                         -- when somebody has to look whether it has room; 0 for now, NULL for never
) STRICT;
CREATE INDEX limit_key_opens ON limit_key (opens_at) WHERE opens_at IS NOT NULL;

-- Jobs of a queue that have the same limits wait in one line, in the order of claims.
CREATE TABLE limit_line (
    number INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,                      -- the keys, joined
    waits_for INTEGER,                       -- the key that has no room for its first job; 0 to be looked at now, NULL if empty
    head_priority INTEGER,                   -- about its first job: which line comes first at that key
    head_seq INTEGER,
    UNIQUE (queue, name)
) STRICT;
CREATE INDEX limit_line_waits ON limit_line (waits_for, queue, head_priority DESC, head_seq)
    WHERE waits_for IS NOT NULL;

CREATE TABLE limit_member (
    line INTEGER NOT NULL,
    place INTEGER NOT NULL,
    key INTEGER NOT NULL,
    PRIMARY KEY (line, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX limit_member_key ON limit_member (key);

-- Jobs that were let through and not claimed yet.
CREATE TABLE admitted (
    key INTEGER NOT NULL,
    job INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (key, job)
) STRICT, WITHOUT ROWID;

-- Jobs that were claimed. What a key has room for is reckoned from those that run by their own rows: whatever has ended
-- a run, it holds nothing.
CREATE TABLE holding (
    key INTEGER NOT NULL,
    job INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (key, job)
) STRICT, WITHOUT ROWID;

-- Starts under a key with a rate, until their time is over, also of jobs that were cleared.
CREATE TABLE limit_start (
    key INTEGER NOT NULL,
    at INTEGER NOT NULL,                     -- or the last moment at which it can have been, while that is not known
    job INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (key, at, job)
) STRICT, WITHOUT ROWID;

-- Those that wait for nothing but their limits are found in the order of claims; and whether any job has a line at all.
CREATE INDEX job_line ON job (line, held_by, parents_left, due_at, priority DESC, seq)
    WHERE line IS NOT NULL AND held_by IS NOT NULL;
CREATE INDEX job_of_line ON job (line) WHERE line IS NOT NULL;

-- Whatever brings a job to wait for nothing but its limits: its line is looked at.
CREATE TRIGGER limited_job_waits AFTER UPDATE OF line, parents_left, due_at, held_by ON job
WHEN NEW.line IS NOT NULL AND substr(NEW.held_by, 1, 6) = 'limit:' AND NEW.parents_left = 0 AND NEW.due_at IS NULL
    AND NOT (OLD.held_by IS NEW.held_by AND OLD.parents_left = 0 AND OLD.due_at IS NULL AND OLD.line IS NEW.line)
BEGIN
    UPDATE limit_line SET waits_for = 0 WHERE number = NEW.line AND waits_for IS NULL;
    UPDATE limit_line SET head_priority = NEW.priority, head_seq = NEW.seq
        WHERE number = NEW.line AND (head_seq IS NULL OR (-head_priority, head_seq) > (-NEW.priority, NEW.seq));
END;

-- Whatever takes a job that was let through, and does not run yet: others may have its place.
CREATE TRIGGER limited_job_goes AFTER UPDATE OF line, parents_left, due_at, held_by ON job
WHEN OLD.line IS NOT NULL
    AND OLD.status = 'pending' AND OLD.parents_left = 0 AND OLD.due_at IS NULL AND OLD.held_by IS NULL
    AND (NEW.parents_left != 0 OR NEW.due_at IS NOT NULL OR NEW.held_by IS NOT NULL OR NEW.line IS NOT OLD.line
        OR NEW.status NOT IN ('pending', 'running'))
BEGIN
    DELETE FROM admitted WHERE job = OLD.seq AND key IN (SELECT key FROM limit_member WHERE line = OLD.line);
    UPDATE limit_key SET opens_at = 0
        WHERE number IN (SELECT key FROM limit_member WHERE line = OLD.line) AND opens_at IS NOT 0;
END;

-- The first of a line leaves it without having been let through: the next one, or another line's, may need less room.
CREATE TRIGGER limited_head_goes AFTER UPDATE OF line, parents_left, due_at, held_by ON job
WHEN OLD.line IS NOT NULL AND OLD.status = 'pending' AND substr(OLD.held_by, 1, 6) = 'limit:'
    AND OLD.parents_left = 0 AND OLD.due_at IS NULL
    AND (NEW.status != 'pending' OR NEW.parents_left != 0 OR NEW.due_at IS NOT NULL OR NEW.line IS NOT OLD.line)
BEGIN
    UPDATE limit_key SET opens_at = 0
        WHERE number = (SELECT waits_for FROM limit_line WHERE number = OLD.line AND head_seq = OLD.seq) AND opens_at IS NOT 0;
END;
