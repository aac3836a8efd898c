-- Finding jobs again, and letting old ones go. Jobs without tags and metadata, in the queue 'default', cost nothing.

-- Which jobs have a tag.
CREATE TABLE tag (
    tag TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tag, seq)
) STRICT, WITHOUT ROWID;

-- What a caller has noted of a job; a row only where there is something.
CREATE TABLE annotation (
    seq INTEGER PRIMARY KEY,
    tags TEXT,                               -- JSON list, as given
    metadata TEXT                            -- JSON object
) STRICT;

CREATE INDEX job_queue ON job (queue, seq) WHERE queue != 'default';

-- How long ended jobs stay; no row is for ever.
CREATE TABLE retention (
    status TEXT PRIMARY KEY CHECK (status IN ('completed', 'failed', 'cancelled', 'timeout')),
    age INTEGER NOT NULL                     -- microseconds since the end
) STRICT, WITHOUT ROWID;
