-- Retry policies, and a history that endless snoozes do not fill.

-- JSON, see gigq.retry; NULL where retry_delay says all.
ALTER TABLE job ADD COLUMN retry TEXT;
-- Runs that left the history: the oldest of those that were snoozed.
ALTER TABLE job ADD COLUMN runs_dropped INTEGER NOT NULL DEFAULT 0;
