-- Unique jobs. The index is what keeps two from having one key; who has a right to it, `keeps_slot` says.

-- As declared, or made from the function and the params.
ALTER TABLE job ADD COLUMN unique_key TEXT;
-- The key, until another job has taken it.
ALTER TABLE job ADD COLUMN unique_slot TEXT;
-- In which states it keeps the key, with commas between them;
ALTER TABLE job ADD COLUMN unique_states TEXT;
-- and before this moment, whatever its state, unless it was cancelled.
ALTER TABLE job ADD COLUMN unique_until INTEGER;

CREATE UNIQUE INDEX job_unique ON job (unique_slot) WHERE unique_slot IS NOT NULL;
