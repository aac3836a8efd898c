-- Workflows that can be found again: a name, and which jobs belong to it.

CREATE TABLE workflow (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- A submission numbers its jobs one after the other, so a workflow is a few spans of job numbers: what it was submitted
-- with, and what its jobs have added. A column in every job would be read and written by every claim and settle.
CREATE TABLE workflow_span (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,
    workflow INTEGER NOT NULL,
    at_end INTEGER NOT NULL DEFAULT 0        -- jobs that run when all others have ended
) STRICT;
CREATE INDEX workflow_spans ON workflow_span (workflow);
