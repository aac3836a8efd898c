-- Every statement, once. `-- name:` begins one, the comment beneath describes it. `:x` is a bound value,
-- `{x}` a piece spelled by statements.py (guards come from status.py). Lists travel as one JSON array in, and
-- hot reads as one JSON array out, so that each statement is stepped once: sqlite3 gives up the GIL at each step.

-- name: ready_where
-- fragment: the three marks are empty; the condition of the index job_ready, to the letter.
status = 'pending' AND parents_left = 0 AND due_at IS NULL AND held_by IS NULL

-- name: lease_columns
-- fragment: what a worker is told about a run, in the order of lease.Lease; its params follow. Its timeout ends at the
-- latest with its deadline.
j.seq, j.id, j.queue, j.execution_id, j.name, j.function_module, j.function_name, j.script,
    j.priority, j.attempts, j.crashes, j.runs, j.max_attempts, j.max_crashes,
    CASE WHEN j.deadline_at IS NULL THEN j.timeout
        ELSE max(1, min(coalesce(j.timeout, j.deadline_at), j.deadline_at - j.started_at)) END, j.retry_delay,
    j.parents, j.pass_parent_results, j.wants_parents, j.worker, j.started_at, j.is_async, j.retry, j.deadline_at,
    j.tick, j.line

-- name: claim_columns
-- fragment: the same of a run that is just being claimed, with the lease that claim_take gives it.
j.seq, j.id, j.queue, :token || '-' || j.seq, j.name, j.function_module, j.function_name, j.script,
    j.priority, j.attempts, j.crashes, j.runs, j.max_attempts, j.max_crashes,
    CASE WHEN j.deadline_at IS NULL THEN j.timeout
        ELSE max(1, min(coalesce(j.timeout, j.deadline_at), j.deadline_at - :now)) END, j.retry_delay,
    j.parents, j.pass_parent_results, j.wants_parents, :worker, :now, j.is_async, j.retry, j.deadline_at,
    j.tick, j.line

-- name: small_params
-- fragment: params that travel with a claim; larger ones (bytes) are read when their job starts, or a claim of many
-- would exceed what SQLite allows a text.
CASE WHEN length(p.body) <= 32768 THEN p.body END

-- name: edge_is_open
-- fragment: the child (job) still waits for the parent (p) at the other end of the edge (e). A parent that ended
-- but whose news has not reached this child yet (see unfinished) is open: the news will count it down.
(NOT (p.status = 'completed' OR (job.on_parent_failure = 'run' AND p.status IN ({ended_badly})))
    OR EXISTS (SELECT 1 FROM unfinished AS u
        WHERE u.kind = 'ended' AND u.parent = e.parent AND u.cursor < e.child))

-- name: open_parents
-- fragment: parents_left, computed afresh from the edges.
(SELECT count(*) FROM dependency AS e CROSS JOIN job AS p ON p.seq = e.parent
    WHERE e.child = job.seq AND {edge_is_open})

-- name: peek
-- What an idle worker asks, and each exchange: when is the next job due, when does the next one end that is still
-- pending, when has somebody to look at limits (0 for now), is graph work left over, the first and the last queue with
-- ready jobs, does any queue have settings, does any job have limits?
SELECT
    (SELECT due_at FROM job INDEXED BY job_due WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1),
    ({next_end}),
    CASE WHEN EXISTS (SELECT 1 FROM limit_line WHERE waits_for = 0) THEN 0 ELSE (
        SELECT opens_at FROM limit_key INDEXED BY limit_key_opens WHERE opens_at IS NOT NULL ORDER BY opens_at LIMIT 1
    ) END,
    EXISTS (SELECT 1 FROM unfinished),
    (SELECT queue FROM job INDEXED BY job_ready WHERE queue > '' AND {ready_where} ORDER BY queue LIMIT 1),
    (SELECT queue FROM job INDEXED BY job_ready WHERE queue > '' AND {ready_where} ORDER BY queue DESC LIMIT 1),
    EXISTS (SELECT 1 FROM queue),
    EXISTS (SELECT 1 FROM limit_line WHERE number > 0)

-- name: next_end
-- When the first of the pending jobs ends that have such a moment.
SELECT ends_at FROM job INDEXED BY job_ends WHERE ends_at IS NOT NULL ORDER BY ends_at LIMIT 1

-- name: queue_room
-- fragment: how many more jobs of a queue (q, its settings s) may run; NULL for any number.
CASE WHEN s.concurrency IS NOT NULL THEN s.concurrency - coalesce(
    (SELECT c.n FROM counts AS c WHERE c.queue = q.queue AND c.status = 'running'), 0) END

-- name: queue_is_open
-- fragment: a claim may find room in it: in :leaving (JSON) are the queues of runs that have just ended, which still
-- count.
s.paused_at IS NULL AND (s.concurrency IS NULL OR {queue_room} > 0
    OR q.queue IN (SELECT value FROM json_each(:leaving)))

-- name: ready_from
-- [queue, room, ageing] of the queues that have ready jobs and are open, from behind a name on, in the order of their
-- names: one step of the index for each.
WITH RECURSIVE q(queue) AS (
    SELECT (SELECT queue FROM job INDEXED BY job_ready WHERE queue > :after AND {ready_where}
        ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT queue FROM job INDEXED BY job_ready WHERE queue > q.queue AND {ready_where}
        ORDER BY queue LIMIT 1)
    FROM q WHERE q.queue IS NOT NULL
)
SELECT json_group_array(json_array(queue, room, ageing)) FROM (
    SELECT q.queue AS queue, {queue_room} AS room, s.ageing AS ageing
    FROM q LEFT JOIN queue AS s ON s.name = q.queue
    WHERE q.queue IS NOT NULL AND {queue_is_open} LIMIT :limit
)

-- name: ready_among
-- The same of the queues that are named.
SELECT json_group_array(json_array(queue, room, ageing)) FROM (
    SELECT q.queue AS queue, {queue_room} AS room, s.ageing AS ageing
    FROM (SELECT value AS queue FROM json_each(:queues)) AS q LEFT JOIN queue AS s ON s.name = q.queue
    WHERE EXISTS (SELECT 1 FROM job INDEXED BY job_ready WHERE queue = q.queue AND {ready_where})
        AND {queue_is_open}
)

-- name: ready_priorities
-- Those of the ready jobs of a queue, highest first: one step of the index for each.
WITH RECURSIVE level(priority) AS (
    SELECT (SELECT priority FROM job INDEXED BY job_ready WHERE queue = :queue AND {ready_where}
        ORDER BY priority DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT priority FROM job INDEXED BY job_ready
        WHERE queue = :queue AND priority < level.priority AND {ready_where} ORDER BY priority DESC LIMIT 1)
    FROM level WHERE level.priority IS NOT NULL
)
SELECT json_group_array(priority) FROM (SELECT priority FROM level WHERE priority IS NOT NULL LIMIT :limit)

-- name: promote
-- Clears mark 2 of what is due, oldest first.
UPDATE job SET due_at = NULL, waits_since = due_at
WHERE seq IN (SELECT seq FROM job INDEXED BY job_due WHERE due_at <= :now ORDER BY due_at LIMIT :limit)

-- name: claim_choose
-- The best ready jobs of a queue: their leases, their numbers, how many.
SELECT json_group_array(json_array({claim_columns}, {small_params})), json_group_array(r.seq), count(*)
FROM (
    SELECT seq FROM job INDEXED BY job_ready WHERE queue = :queue AND {ready_where}
    ORDER BY priority DESC, seq LIMIT :want
) AS r
CROSS JOIN job AS j ON j.seq = r.seq
CROSS JOIN params AS p ON p.seq = r.seq

-- name: claim_choose_without
-- The same for a worker that lacks some functions, [module, name, script] each: it leaves to others what was held for
-- want of one of them before.
SELECT json_group_array(json_array({claim_columns}, {small_params})), json_group_array(r.seq), count(*)
FROM (
    SELECT seq FROM job INDEXED BY job_ready WHERE queue = :queue AND {ready_where}
        AND (held_since IS NULL OR NOT EXISTS (
            SELECT 1 FROM json_each(:without) AS w
            WHERE json_extract(w.value, '$[0]') = function_module AND json_extract(w.value, '$[1]') = function_name
                AND json_extract(w.value, '$[2]') IS script
        ))
    ORDER BY priority DESC, seq LIMIT :want
) AS r
CROSS JOIN job AS j ON j.seq = r.seq
CROSS JOIN params AS p ON p.seq = r.seq

-- name: claim_choose_kind
-- The same for a worker that has room for one kind only, coroutine functions (1) or others (0), of the first :most that
-- are ready: those of the other kind before them keep their place.
SELECT json_group_array(json_array({claim_columns}, {small_params})), json_group_array(r.seq), count(*)
FROM (
    SELECT seq FROM (
        SELECT seq, coalesce(is_async, EXISTS (SELECT 1 FROM json_each(:coroutines) AS c
            WHERE json_extract(c.value, '$[0]') = function_module AND json_extract(c.value, '$[1]') = function_name
        )) AS kind
        FROM job INDEXED BY job_ready WHERE queue = :queue AND {ready_where}
            AND (held_since IS NULL OR NOT EXISTS (
                SELECT 1 FROM json_each(:without) AS w
                WHERE json_extract(w.value, '$[0]') = function_module AND json_extract(w.value, '$[1]') = function_name
                    AND json_extract(w.value, '$[2]') IS script
            ))
        ORDER BY priority DESC, seq LIMIT :most
    ) WHERE kind = :kind LIMIT :want
) AS r
CROSS JOIN job AS j ON j.seq = r.seq
CROSS JOIN params AS p ON p.seq = r.seq

-- name: claim_choose_among
-- The same of several queues, or of one whose priorities rise with time: [queue, room, highest, lowest, ageing] each.
-- Of each the first :each are looked at; what counts is their priority, and one more for each :ageing that they have
-- waited. :kind is NULL, or as for claim_choose_kind.
SELECT json_group_array(json_array({claim_columns}, {small_params})), json_group_array(r.seq), count(*),
    json_group_array(j.queue)
FROM (
    SELECT seq FROM (
        SELECT seq, rank, room, row_number() OVER (PARTITION BY queue ORDER BY rank DESC, seq) AS place FROM (
            SELECT s.queue AS queue, s.room AS room,
                json_extract(k.value, '$[0]') AS seq, json_extract(k.value, '$[1]') AS rank
            FROM (
                SELECT json_extract(value, '$[0]') AS queue, json_extract(value, '$[1]') AS room,
                    json_extract(value, '$[2]') AS highest, json_extract(value, '$[3]') AS lowest,
                    json_extract(value, '$[4]') AS ageing
                FROM json_each(:sources)
            ) AS s CROSS JOIN json_each((
                SELECT json_group_array(json_array(seq, rank)) FROM (
                    SELECT seq, CASE WHEN s.ageing IS NULL THEN priority
                            ELSE priority + max(0, :now - coalesce(waits_since, created_at)) / s.ageing END AS rank,
                        CASE WHEN :kind IS NOT NULL THEN coalesce(is_async, EXISTS (
                            SELECT 1 FROM json_each(:coroutines) AS c
                            WHERE json_extract(c.value, '$[0]') = function_module
                                AND json_extract(c.value, '$[1]') = function_name
                        )) END AS kind
                    FROM job INDEXED BY job_ready
                    WHERE queue = s.queue AND priority <= s.highest AND priority >= s.lowest AND {ready_where}
                        AND (:without = '[]' OR held_since IS NULL OR NOT EXISTS (
                            SELECT 1 FROM json_each(:without) AS w
                            WHERE json_extract(w.value, '$[0]') = function_module
                                AND json_extract(w.value, '$[1]') = function_name
                                AND json_extract(w.value, '$[2]') IS script
                        ))
                    ORDER BY priority DESC, seq LIMIT :each
                ) WHERE :kind IS NULL OR kind = :kind
            )) AS k
        )
    ) WHERE room IS NULL OR place <= room ORDER BY rank DESC, seq LIMIT :want
) AS r
CROSS JOIN job AS j ON j.seq = r.seq
CROSS JOIN params AS p ON p.seq = r.seq

-- name: forget_ends
-- Of jobs that were just claimed: mark 4 is on pending jobs only. Run only where any job has it.
UPDATE job SET ends_at = NULL WHERE seq IN (SELECT value FROM json_each(:jobs)) AND ends_at IS NOT NULL

-- name: ending
-- Pending jobs that are over now.
SELECT json_group_array(seq) FROM (
    SELECT seq FROM job INDEXED BY job_ends WHERE ends_at <= :now ORDER BY ends_at LIMIT :limit
)

-- name: expire
-- ends_at is the earlier of expires_at and deadline_at.
UPDATE job SET status = CASE WHEN expires_at = ends_at THEN 'cancelled' ELSE 'timeout' END,
    error = CASE WHEN expires_at = ends_at THEN 'expired: it was not to start after '
            ELSE 'TimeoutError: it waited past its deadline of ' END
        || strftime('%Y-%m-%dT%H:%M:%S', ends_at / 1000000, 'unixepoch') || '+00:00'
        || coalesce('; its last run: ' || error, ''),
    ends_at = NULL, due_at = NULL, held_by = NULL, held_since = NULL, completed_at = :now, updated_at = :now
WHERE seq IN (SELECT value FROM json_each(:jobs)) AND +status IN ({expire_from})

-- name: ends_anew
-- fragment: mark 4 of a job that is pending again.
min(coalesce(expires_at, deadline_at), coalesce(deadline_at, expires_at))

-- name: claim_take
-- Puts them under a lease. Runs in the transaction of claim_choose, which holds the write lock.
UPDATE job SET status = 'running', execution_id = :token || '-' || seq, worker = :worker,
    started_at = :now, updated_at = :now
WHERE seq IN (SELECT value FROM json_each(:jobs)) AND +status IN ({claim_from})

-- name: settle_completed
-- [seq, execution_id, result, started_at, completed_at] each. The hot one: it assigns no column of a feature's index.
UPDATE job SET status = 'completed', result = json_extract(o.value, '$[2]'), error = NULL,
    attempts = attempts + 1, runs = runs + 1, started_at = json_extract(o.value, '$[3]'),
    completed_at = json_extract(o.value, '$[4]'), updated_at = :now
FROM json_each(:outcomes) AS o
WHERE job.seq = json_extract(o.value, '$[0]')
    AND job.execution_id = json_extract(o.value, '$[1]') AND +job.status IN ({settle_from})

-- name: settle_ended
-- [seq, execution_id, status, attempts, crashes, runs, due_at, held_by, started_at, completed_at, error] each:
-- every end of a run but the good one. A run that never started leaves the start of the one before.
UPDATE job SET status = json_extract(o.value, '$[2]'),
    attempts = attempts + json_extract(o.value, '$[3]'),
    crashes = crashes + json_extract(o.value, '$[4]'),
    runs = runs + json_extract(o.value, '$[5]'),
    due_at = json_extract(o.value, '$[6]'),
    held_by = json_extract(o.value, '$[7]'),
    held_since = CASE WHEN json_extract(o.value, '$[7]') IS NOT NULL THEN coalesce(held_since, :now) END,
    started_at = CASE WHEN json_extract(o.value, '$[8]') IS NOT NULL OR attempts + crashes = 0
        THEN json_extract(o.value, '$[8]')
        ELSE (SELECT x.started_at FROM execution AS x WHERE x.job = job.seq ORDER BY x.run DESC LIMIT 1) END,
    completed_at = json_extract(o.value, '$[9]'),
    error = coalesce(json_extract(o.value, '$[10]'), error),
    updated_at = :now,
    ends_at = CASE WHEN json_extract(o.value, '$[2]') = 'pending' THEN {ends_anew} END,
    parents_left = CASE WHEN parents > 0 AND json_extract(o.value, '$[2]') = 'pending'
        THEN {open_parents} ELSE parents_left END
FROM json_each(:outcomes) AS o
WHERE job.seq = json_extract(o.value, '$[0]')
    AND job.execution_id = json_extract(o.value, '$[1]') AND +job.status IN ({settle_from})

-- name: record_completed
-- Of jobs that have just completed: what the history tells of them stands in their rows.
INSERT INTO execution (job, run, id, worker, status, started_at, completed_at)
SELECT seq, runs, execution_id, worker, 'completed', started_at, completed_at FROM job
WHERE seq IN (SELECT value FROM json_each(:jobs))

-- name: record_runs
-- Of those that ended otherwise: [seq, run, execution_id, status, started_at, completed_at, error] each.
INSERT INTO execution (job, run, id, worker, status, started_at, completed_at, error)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[7]'), json_extract(value, '$[3]'), json_extract(value, '$[4]'),
    json_extract(value, '$[5]'), json_extract(value, '$[6]')
FROM json_each(:runs)

-- name: old_snoozes
-- [job, run] of the snoozed runs of each job in :last, [job, run] too, up to that run.
SELECT json_group_array(json_array(e.job, e.run))
FROM json_each(:last) AS l CROSS JOIN execution AS e
    ON e.job = json_extract(l.value, '$[0]') AND e.run <= json_extract(l.value, '$[1]')
WHERE e.status = 'snoozed'

-- name: drop_runs
DELETE FROM execution WHERE (job, run) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:runs)
)

-- name: drop_output
DELETE FROM output WHERE (job, run) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:runs)
)

-- name: count_dropped
-- [job, runs] each.
UPDATE job SET runs_dropped = runs_dropped + json_extract(d.value, '$[1]')
FROM json_each(:jobs) AS d WHERE job.seq = json_extract(d.value, '$[0]')

-- name: supersede
-- A late run reported after somebody else had ended it.
UPDATE execution SET status = 'superseded' WHERE job = :job AND id = :execution AND status != 'completed'

-- name: add_counts
-- [queue, status, difference] each.
INSERT INTO counts (queue, status, n)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
FROM json_each(:differences) WHERE true
ON CONFLICT (queue, status) DO UPDATE SET n = n + excluded.n

-- name: count_jobs
-- Adds (:sign = 1) or takes out (-1) jobs as they stand; around every change that is not hot.
INSERT INTO counts (queue, status, n)
SELECT queue, status, :sign * count(*) FROM job
WHERE seq IN (SELECT value FROM json_each(:jobs)) GROUP BY queue, status
ON CONFLICT (queue, status) DO UPDATE SET n = n + excluded.n

-- name: hasten
-- A retry that waited for its abandoned thread, which has ended.
UPDATE job SET due_at = :due_at
WHERE seq = :job AND execution_id = :execution AND +status = 'pending' AND due_at > coalesce(:due_at, 0)

-- name: last_seq
-- Of main: a temporary table with AUTOINCREMENT has such a table of its own.
SELECT coalesce((SELECT seq FROM main.sqlite_sequence AS s WHERE name = 'job'), 0)

-- name: known_ids
-- [place, seq, status] of those of :ids that are in the queue; the place is the position in :ids.
SELECT json_group_array(json_array(i.key, j.seq, j.status))
FROM json_each(:ids) AS i CROSS JOIN job AS j ON j.id = i.value

-- name: kind_columns
-- fragment: what many jobs of a submission have in common.
queue, priority, function_module, function_name, script, on_parent_failure, pass_parent_results, wants_parents,
    max_attempts, max_crashes, timeout, retry_delay, description, parents, is_async, retry,
    due_at, expires_at, deadline_at, deadline, ends_at

-- name: insert_job
-- One job, bound by place, which takes a third of the time of insert_jobs with one. All its parents are open.
INSERT INTO job ({kind_columns}, parents_left, id, name, created_at, updated_at, status)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')

-- name: unique_columns
-- fragment: what a unique job has beside, in the order of uniqueness.columns.
unique_key, unique_slot, unique_states, unique_until

-- name: insert_unique_job
-- As insert_job, followed by the unique_columns.
INSERT INTO job ({kind_columns}, parents_left, id, name, created_at, updated_at, {unique_columns}, status)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')

-- name: insert_job_params
-- The same for its params: half the time of insert_params with one.
INSERT INTO params (seq, body) VALUES (?, ?)

-- name: count_job
-- The same for its queue: a fifth of the time of add_counts with one.
INSERT INTO counts (queue, status, n) VALUES (?, 'pending', 1)
ON CONFLICT (queue, status) DO UPDATE SET n = n + 1

-- name: kinds
-- fragment: :kinds has [the kind_columns, the last five as one] each, so that they are taken out of the JSON once and not for every job.
kind AS MATERIALIZED (
    SELECT key AS place, json_extract(value, '$[0]') AS queue, json_extract(value, '$[1]') AS priority,
        json_extract(value, '$[2]') AS function_module, json_extract(value, '$[3]') AS function_name,
        json_extract(value, '$[4]') AS script, json_extract(value, '$[5]') AS on_parent_failure,
        json_extract(value, '$[6]') AS pass_parent_results, json_extract(value, '$[7]') AS wants_parents,
        json_extract(value, '$[8]') AS max_attempts, json_extract(value, '$[9]') AS max_crashes,
        json_extract(value, '$[10]') AS timeout, json_extract(value, '$[11]') AS retry_delay,
        json_extract(value, '$[12]') AS description, json_extract(value, '$[13]') AS parents,
        json_extract(value, '$[14]') AS is_async, json_extract(value, '$[15]') AS retry,
        json_extract(value, '$[16][0]') AS due_at,
        json_extract(value, '$[16][1]') AS expires_at, json_extract(value, '$[16][2]') AS deadline_at,
        json_extract(value, '$[16][3]') AS deadline, json_extract(value, '$[16][4]') AS ends_at
    FROM json_each(:kinds)
)

-- name: insert_jobs
-- [id, name, created_at, place in :kinds] each. All parents are open.
WITH {kinds}
INSERT INTO job (seq, id, name, created_at, updated_at, status, parents_left, {kind_columns})
SELECT :base + o.key, json_extract(o.value, '$[0]'), json_extract(o.value, '$[1]'),
    json_extract(o.value, '$[2]'), :now, 'pending', parents, {kind_columns}
FROM json_each(:jobs) AS o CROSS JOIN kind ON kind.place = json_extract(o.value, '$[3]')

-- name: insert_unique_jobs
-- As insert_jobs, where some are unique: each is followed by its unique_columns, if it is.
WITH {kinds}
INSERT INTO job (seq, id, name, created_at, updated_at, status, parents_left, {kind_columns}, {unique_columns})
SELECT :base + o.key, json_extract(o.value, '$[0]'), json_extract(o.value, '$[1]'),
    json_extract(o.value, '$[2]'), :now, 'pending', parents, {kind_columns},
    json_extract(o.value, '$[4]'), json_extract(o.value, '$[5]'), json_extract(o.value, '$[6]'),
    json_extract(o.value, '$[7]')
FROM json_each(:jobs) AS o CROSS JOIN kind ON kind.place = json_extract(o.value, '$[3]')

-- name: insert_params
-- Of jobs that were numbered from :base on.
INSERT INTO params (seq, body) SELECT :base + key, value FROM json_each(:bodies)

-- name: insert_annotations
-- [seq, tags, metadata] each.
INSERT INTO annotation (seq, tags, metadata)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:rows)

-- name: insert_tags
-- Of the same rows.
INSERT INTO tag (tag, seq)
SELECT t.value, json_extract(r.value, '$[0]') FROM json_each(:rows) AS r CROSS JOIN json_each(r.value, '$[1]') AS t
WHERE json_type(r.value, '$[1]') = 'array'

-- name: insert_edges
INSERT INTO dependency (child, position, parent)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:rows)

-- name: keeps_slot
-- fragment: the job (j) still has a right to the unique slot it has taken. Nobody takes it away when the right ends:
-- whoever wants the slot next does, so that no claim and no end of a run ever looks at it.
(instr(j.unique_states, j.status) > 0 OR (coalesce(j.unique_until, 0) > :now AND j.status != 'cancelled'))

-- name: slot_holder
-- Seq, id, status of the job that has a key, and whether it keeps it.
SELECT j.seq, j.id, j.status, {keeps_slot} FROM job AS j INDEXED BY job_unique WHERE j.unique_slot = :key

-- name: slot_holders
-- The same for many: [key, seq, id, status, whether it keeps it] each.
SELECT json_group_array(json_array(j.unique_slot, j.seq, j.id, j.status, {keeps_slot}))
FROM json_each(:keys) AS k CROSS JOIN job AS j INDEXED BY job_unique ON j.unique_slot = k.value

-- name: leave_slots
UPDATE job SET unique_slot = NULL WHERE seq IN (SELECT value FROM json_each(:jobs))

-- name: lost_slots
-- [seq, key] of those of :jobs whose slot was taken when they had no right to it, and that want it as pending ones.
SELECT json_group_array(json_array(j.seq, j.unique_key))
FROM json_each(:jobs) AS c CROSS JOIN job AS j ON j.seq = c.value
WHERE j.unique_slot IS NULL AND j.unique_key IS NOT NULL
    AND (instr(j.unique_states, 'pending') > 0 OR coalesce(j.unique_until, 0) > :now)

-- name: regain_slot
UPDATE job SET unique_slot = unique_key WHERE seq = :job

-- name: give_way
-- An ended job that cannot come back, since another has its unique key.
UPDATE job SET status = 'cancelled', error = :error, cancelled_for = NULL, completed_at = :now, updated_at = :now
WHERE seq = :job AND +status IN ({give_way_from})

-- name: redeclare
-- A pending job is given what another one declared, and starts anew. By place: name, when, the kind_columns, the
-- unique_columns, its number.
UPDATE job SET held_by = NULL, held_since = NULL, attempts = 0, crashes = 0, error = NULL, started_at = NULL,
    name = ?, updated_at = ?, ({kind_columns}) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?),
    ({unique_columns}) = (?, ?, ?, ?)
WHERE seq = ? AND +status = 'pending'

-- name: redeclare_params
UPDATE params SET body = :body WHERE seq = :job

-- name: shadowed
-- A temporary table of somebody's connection under the name of one of ours, where statements would land.
SELECT t.name FROM temp.sqlite_master AS t WHERE t.name IN (
    'job', 'params', 'counts', 'dependency', 'unfinished', 'place', 'limit_key', 'limit_line', 'limit_member',
    'admitted', 'holding'
) LIMIT 1

-- name: lock
-- Changes nothing, and takes SQLite's write lock.
UPDATE counts SET n = n WHERE 0

-- name: is_stored
-- A job, as it was written at a moment or later.
SELECT EXISTS (SELECT 1 FROM job WHERE id = :id AND updated_at >= :at)

-- name: recount
-- Mark 1 afresh. A change of a parent's end goes through here, and every way into pending that is not a claim given back.
UPDATE job SET parents_left = {open_parents} WHERE seq IN (SELECT value FROM json_each(:jobs))

-- name: doomed
-- [child, parent] for those of :jobs that a parent's bad end cancels.
SELECT json_group_array(json_array(child, parent)) FROM (
    SELECT e.child AS child, min(e.parent) AS parent
    FROM json_each(:jobs) AS c CROSS JOIN dependency AS e ON e.child = c.value
    CROSS JOIN job AS k ON k.seq = e.child CROSS JOIN job AS p ON p.seq = e.parent
    WHERE k.on_parent_failure = 'cancel' AND p.status IN ({ended_badly})
    GROUP BY e.child
)

-- name: any_edge
SELECT EXISTS (SELECT 1 FROM dependency)

-- name: release_is_simple
-- At most :limit edges leave these jobs that completed, and nobody is in the middle of being brought back.
SELECT NOT EXISTS (SELECT 1 FROM unfinished WHERE kind = 'revived') AND :limit >= (SELECT count(*) FROM (
    SELECT 1 FROM json_each(:parents) AS p CROSS JOIN dependency AS e ON e.parent = p.value LIMIT :limit + 1
))

-- name: with_children
SELECT json_group_array(p.value) FROM json_each(:jobs) AS p
WHERE EXISTS (SELECT 1 FROM dependency AS e WHERE e.parent = p.value)

-- name: release_all
-- All children of parents that completed, one down for each.
UPDATE job SET parents_left = max(parents_left - r.n, 0)
FROM (
    SELECT e.child AS child, count(*) AS n
    FROM json_each(:parents) AS p CROSS JOIN dependency AS e ON e.parent = p.value GROUP BY e.child
) AS r
WHERE job.seq = r.child AND +job.status = 'pending'

-- name: children
-- [child, status, on_parent_failure, cancelled_for] of a parent, in order, from a cursor on.
SELECT json_group_array(json_array(child, status, on_parent_failure, cancelled_for)) FROM (
    SELECT e.child AS child, j.status AS status, j.on_parent_failure AS on_parent_failure,
        j.cancelled_for AS cancelled_for
    FROM dependency AS e CROSS JOIN job AS j ON j.seq = e.child
    WHERE e.parent = :parent AND e.child > :cursor ORDER BY e.child LIMIT :limit
)

-- name: release_some
UPDATE job SET parents_left = max(parents_left - 1, 0)
WHERE seq IN (SELECT value FROM json_each(:jobs)) AND +status = 'pending'

-- name: cancel
-- Pending jobs, called off by their owner.
UPDATE job SET status = 'cancelled', due_at = NULL, held_by = NULL, held_since = NULL, ends_at = NULL,
    completed_at = :now, updated_at = :now
WHERE seq IN (SELECT value FROM json_each(:jobs)) AND +status IN ({cancel_from})

-- name: parent_failed
-- fragment: why a job was cancelled for its parent's sake.
(SELECT 'parent ' || p.name || ' ' || p.id || ' failed'
    || CASE p.status WHEN 'failed' THEN '' ELSE ' (' || p.status || ')' END
    FROM job AS p WHERE p.seq = :parent)

-- name: cancel_for_parent
UPDATE job SET status = 'cancelled', due_at = NULL, held_by = NULL, held_since = NULL, ends_at = NULL,
    cancelled_for = :parent, completed_at = :now, updated_at = :now, error = {parent_failed}
WHERE seq IN (SELECT value FROM json_each(:jobs)) AND +status IN ({cancel_from})

-- name: cancel_still_for
-- Its parent was brought back, but another one that ended badly keeps it cancelled.
UPDATE job SET cancelled_for = :parent, error = {parent_failed} WHERE seq IN (SELECT value FROM json_each(:jobs))

-- name: requeue
-- Back to the start; parents_left follows by recount. It does not expire any more, and its deadline counts anew.
UPDATE job SET status = 'pending', attempts = 0, crashes = 0, error = NULL, result = NULL, started_at = NULL,
    completed_at = NULL, due_at = NULL, held_by = NULL, held_since = NULL, cancelled_for = NULL, updated_at = :now,
    expires_at = NULL, deadline_at = :now + deadline, ends_at = :now + deadline, waits_since = :now
WHERE seq IN (SELECT value FROM json_each(:jobs)) AND +status IN ({requeue_from})

-- name: leave_unfinished
INSERT INTO unfinished (kind, parent, cursor) VALUES (:kind, :parent, :cursor)
ON CONFLICT (kind, parent) DO UPDATE SET cursor = excluded.cursor

-- name: take_unfinished
SELECT kind, parent, cursor FROM unfinished ORDER BY kind, parent LIMIT 1

-- name: forget_unfinished
DELETE FROM unfinished WHERE kind = :kind AND parent = :parent

-- name: forget_news_of
-- Jobs that start anew: what was still to be told of their last end is void.
DELETE FROM unfinished WHERE parent IN (SELECT value FROM json_each(:jobs))

-- name: is_reviving
SELECT EXISTS (SELECT 1 FROM unfinished WHERE kind = 'revived' AND parent = :parent)

-- name: status_of
SELECT status FROM job WHERE seq = :job

-- name: find
SELECT seq, status FROM job WHERE id = :id

-- name: progress_of
-- fragment: how far the job (v) is, as it has told last.
(SELECT json_array(x.run, x.done, x.total, x.message, x.at) FROM progress AS x WHERE x.job = v.seq) AS progress

-- name: workflow_of
-- fragment: the id of the workflow that the job (v) belongs to.
(SELECT w.id FROM workflow_span AS s CROSS JOIN workflow AS w ON w.number = s.workflow
    WHERE s.first = (SELECT max(t.first) FROM workflow_span AS t WHERE t.first <= v.seq) AND s.last >= v.seq) AS workflow

-- name: record
SELECT v.*, {progress_of}, {workflow_of} FROM main.jobs AS v WHERE v.id = :id

-- name: explained
-- All that says why a job is where it is, in one moment: its row; the parents that it waits for, [id, name, status,
-- error]; how many ready jobs come before it, if it is ready; the settings of its queue; and the workers.
SELECT job.id, job.status, job.queue, job.parents_left, job.due_at, job.held_by, job.held_since, job.attempts, job.crashes,
    job.runs, job.max_attempts, job.worker, job.function_module, job.function_name, job.updated_at, job.started_at,
    job.completed_at, job.error, job.expires_at, job.deadline_at,
    (SELECT json_array(x.run, x.done, x.total, x.message, x.at) FROM progress AS x WHERE x.job = job.seq) AS progress,
    (SELECT w.worker_id FROM worker AS w WHERE w.number = job.worker) AS worker_id,
    (SELECT q.id FROM job AS q WHERE q.seq = job.cancelled_for) AS cancelled_for_id,
    EXISTS (SELECT 1 FROM stop_request AS o WHERE o.job = job.seq AND o.execution = job.execution_id) AS asked_to_stop,
    coalesce((SELECT n FROM counts WHERE queue = job.queue AND status = 'running'), 0) AS running,
    CASE WHEN job.parents_left > 0 THEN (
        SELECT json_group_array(json_array(id, name, status, error)) FROM (
            SELECT p.id AS id, p.name AS name, p.status AS status, p.error AS error
            FROM dependency AS e CROSS JOIN job AS p ON p.seq = e.parent
            WHERE e.child = job.seq AND {edge_is_open} ORDER BY e.position LIMIT :limit
        )
    ) END AS open_parents,
    CASE WHEN job.status = 'pending' AND job.parents_left = 0 AND job.due_at IS NULL AND job.held_by IS NULL THEN (
        SELECT count(*) FROM (
            SELECT 1 FROM job AS r INDEXED BY job_ready
            WHERE r.queue = job.queue AND r.status = 'pending' AND r.parents_left = 0 AND r.due_at IS NULL
                AND r.held_by IS NULL AND r.priority >= job.priority
                AND (r.priority > job.priority OR r.seq < job.seq)
            LIMIT :most
        )
    ) END AS ahead,
    (SELECT json_array(s.paused_at, s.reason, s.concurrency, s.ageing) FROM queue AS s WHERE s.name = job.queue)
        AS settings,
    (SELECT json_group_array(json_array(
        w.number, w.worker_id, w.area, w.pid, w.birth, w.host, w.boot, w.sidecar, json(w.queues)
    )) FROM worker AS w WHERE w.area IS NOT NULL) AS workers
FROM job WHERE job.id = :id

-- name: executions
SELECT * FROM main.job_executions WHERE job_id = :id ORDER BY run

-- name: result
SELECT status, result FROM job WHERE id = :id

-- name: wanted
-- fragment: the job (v) is one of those that were asked for; what is NULL makes no difference. A :search is found as a
-- LIKE pattern; :search_json is how JSON spells it, where that differs.
(:status IS NULL OR v.status = :status) AND (:queue IS NULL OR v.queue = :queue)
    AND (:function IS NULL OR v.function_name = :function)
    AND (:module IS NULL OR v.function_module = :module)
    AND (:script IS NULL OR (SELECT s.script FROM job AS s WHERE s.seq = v.seq) = :script)
    AND (:search IS NULL OR v.id LIKE :search ESCAPE '\' OR v.name LIKE :search ESCAPE '\'
        OR v.description LIKE :search ESCAPE '\' OR v.error LIKE :search ESCAPE '\'
        OR EXISTS (SELECT 1 FROM params AS m WHERE m.seq = v.seq
            AND (m.body LIKE :search ESCAPE '\' OR m.body LIKE :search_json ESCAPE '\'))
        OR v.tags LIKE :search ESCAPE '\' OR v.tags LIKE :search_json ESCAPE '\'
        OR v.metadata LIKE :search ESCAPE '\' OR v.metadata LIKE :search_json ESCAPE '\')

-- name: list_all
-- Newest first, from before :cursor down to :floor; a list that has to look at many jobs does so a piece at a time.
SELECT v.*, {progress_of}, {workflow_of} FROM main.jobs AS v WHERE v.seq < :cursor AND v.seq >= :floor AND {wanted}
ORDER BY v.seq DESC LIMIT :limit

-- name: list_status
SELECT v.*, {progress_of}, {workflow_of} FROM main.jobs AS v
WHERE v.status = :status AND v.seq < :cursor AND v.seq >= :floor AND {wanted}
ORDER BY v.seq DESC LIMIT :limit

-- name: list_queue
-- Of a queue that is not 'default'.
SELECT v.*, {progress_of}, {workflow_of} FROM main.jobs AS v
WHERE v.queue = :queue AND v.queue != 'default' AND v.seq < :cursor AND v.seq >= :floor AND {wanted}
ORDER BY v.seq DESC LIMIT :limit

-- name: list_tag
SELECT v.*, {progress_of}, {workflow_of} FROM tag AS t CROSS JOIN main.jobs AS v ON v.seq = t.seq
WHERE t.tag = :tag AND t.seq < :cursor AND t.seq >= :floor AND {wanted}
ORDER BY t.seq DESC LIMIT :limit

-- name: floor_all
-- The :most-th job before :cursor; none if there are fewer.
SELECT seq FROM job WHERE seq < :cursor ORDER BY seq DESC LIMIT 1 OFFSET :most - 1

-- name: floor_status
SELECT seq FROM job INDEXED BY job_status WHERE status = :status AND seq < :cursor
ORDER BY seq DESC LIMIT 1 OFFSET :most - 1

-- name: floor_queue
SELECT seq FROM job INDEXED BY job_queue WHERE queue = :queue AND queue != 'default' AND seq < :cursor
ORDER BY seq DESC LIMIT 1 OFFSET :most - 1

-- name: floor_tag
SELECT seq FROM tag WHERE tag = :tag AND seq < :cursor ORDER BY seq DESC LIMIT 1 OFFSET :most - 1

-- name: counted
-- How many jobs of a status, of a queue, of both there are.
SELECT coalesce(sum(n) FILTER (WHERE status = :status), 0), coalesce(sum(n) FILTER (WHERE queue = :queue), 0),
    coalesce(sum(n) FILTER (WHERE status = :status AND queue = :queue), 0) FROM counts

-- name: stats
SELECT status, sum(n) FROM counts GROUP BY status

-- name: ids_beginning
SELECT id FROM job WHERE id >= :text AND id < :text || char(0x10FFFF) ORDER BY id LIMIT :limit

-- name: ids_ending
SELECT id FROM job WHERE substr(id, -length(:text)) = :text LIMIT :limit

-- name: clear_candidates
-- Newest first, so that a child goes before the parent it spares. Read outside the transaction that clears them.
SELECT j.seq FROM job AS j
WHERE j.status = :status AND j.seq < :cursor AND (:before IS NULL OR j.completed_at < :before) AND {unneeded}
ORDER BY j.seq DESC LIMIT :limit

-- name: unneeded
-- fragment: nothing in the queue that has not completed depends on job j, no news of its end is under way, and it has no
-- unique key to keep others from.
NOT EXISTS (SELECT 1 FROM dependency AS e CROSS JOIN job AS c ON c.seq = e.child
    WHERE e.parent = j.seq AND c.status != 'completed')
AND NOT EXISTS (SELECT 1 FROM unfinished AS u WHERE u.parent = j.seq)
AND NOT (coalesce(j.unique_until, 0) > :now AND j.status != 'cancelled')

-- name: clear_choose
-- Those of the candidates that may still go.
SELECT json_group_array(j.seq) FROM json_each(:jobs) AS c CROSS JOIN job AS j ON j.seq = c.value
WHERE j.status = :status AND (:before IS NULL OR j.completed_at < :before) AND {unneeded}

-- name: clear_keep_id
-- Children, all of which have completed, keep the id of a parent that goes.
UPDATE dependency SET parent_id = (SELECT id FROM job WHERE seq = dependency.parent), parent = NULL
WHERE (child, position) IN (
    SELECT child, position FROM dependency WHERE parent IN (SELECT value FROM json_each(:jobs)) LIMIT :limit
)

-- name: retain
INSERT INTO retention (status, age) VALUES (:status, :age) ON CONFLICT (status) DO UPDATE SET age = excluded.age

-- name: retain_for_ever
DELETE FROM retention WHERE status = :status

-- name: retention
SELECT status, age FROM retention

-- name: sweep
-- A piece of a status, newest first: the jobs that ended before a moment and that nothing needs, when the first of the
-- others has ended, the last job looked at, how many were looked at.
SELECT json_group_array(seq) FILTER (WHERE may_go), min(completed_at) FILTER (WHERE NOT is_old), min(seq), count(*)
FROM (
    SELECT j.seq AS seq, j.completed_at AS completed_at, j.completed_at < :before AS is_old,
        j.completed_at < :before AND {unneeded} AS may_go
    FROM job AS j INDEXED BY job_status WHERE j.status = :status AND j.seq < :high AND j.seq >= :low
    ORDER BY j.seq DESC LIMIT :limit
)

-- name: space
-- Pages, those that are free, bytes in a page, and 2 if free ones can be given back one by one.
SELECT c.page_count, f.freelist_count, s.page_size, a.auto_vacuum
FROM pragma_page_count AS c, pragma_freelist_count AS f, pragma_page_size AS s, pragma_auto_vacuum AS a

-- name: give_back
-- One page: sqlite3 takes only one step of a statement whose rows have no columns.
PRAGMA incremental_vacuum(1)

-- name: clear_edges
DELETE FROM dependency WHERE child IN (SELECT value FROM json_each(:jobs))

-- name: clear_executions
DELETE FROM execution WHERE job IN (SELECT value FROM json_each(:jobs))

-- name: clear_output
DELETE FROM output WHERE job IN (SELECT value FROM json_each(:jobs))

-- name: clear_progress
DELETE FROM progress WHERE job IN (SELECT value FROM json_each(:jobs))

-- name: clear_params
DELETE FROM params WHERE seq IN (SELECT value FROM json_each(:jobs))

-- name: clear_tags
DELETE FROM tag WHERE (tag, seq) IN (
    SELECT t.value, n.seq FROM json_each(:jobs) AS c CROSS JOIN annotation AS n ON n.seq = c.value
    CROSS JOIN json_each(n.tags) AS t
)

-- name: clear_annotations
DELETE FROM annotation WHERE seq IN (SELECT value FROM json_each(:jobs))

-- name: clear_jobs
DELETE FROM job WHERE seq IN (SELECT value FROM json_each(:jobs))

-- name: parents_of
-- [child, parent id, status, result, error] in the order of each child's dependency list.
SELECT json_group_array(json_array(child, id, status, result, error)) FROM (
    SELECT e.child AS child, coalesce(e.parent_id, p.id) AS id, p.status AS status, p.result AS result,
        p.error AS error
    FROM json_each(:jobs) AS c CROSS JOIN dependency AS e ON e.child = c.value LEFT JOIN job AS p ON p.seq = e.parent
    ORDER BY e.child, e.position
)

-- name: parents_size
-- [child, bytes] of the results that would be handed over.
SELECT json_group_array(json_array(child, n)) FROM (
    SELECT e.child AS child, coalesce(sum(length(p.result)), 0) AS n
    FROM json_each(:jobs) AS c CROSS JOIN dependency AS e ON e.child = c.value CROSS JOIN job AS p ON p.seq = e.parent
    GROUP BY e.child
)

-- name: params
SELECT body FROM params WHERE seq = :job

-- name: lease
-- The run of one job, by its lease: for runs that an overridden _claim_job has claimed.
SELECT json_group_array(json_array({lease_columns}, p.body)) FROM job AS j CROSS JOIN params AS p ON p.seq = j.seq
WHERE j.id = :id AND j.execution_id = :execution AND +j.status = 'running'

-- name: running
-- Every run under way, without its params.
SELECT json_group_array(json_array({lease_columns}, '')) FROM job AS j INDEXED BY job_status
WHERE j.status = 'running'

-- name: held_imports
-- What is held for want of a module, and would be worth a try.
SELECT DISTINCT held_by, function_module, function_name, script FROM job INDEXED BY job_held
WHERE held_by >= 'import:' AND held_by < 'import;'

-- name: release_held
-- held_since stays: a worker that cannot run it after all holds it again, and the day goes on.
UPDATE job SET held_by = NULL, error = NULL
WHERE seq IN (
    SELECT seq FROM job INDEXED BY job_held
    WHERE held_by = :held_by AND function_name = :name AND script IS :script LIMIT :limit
)

-- name: held_too_long
SELECT json_group_array(seq) FROM (
    SELECT seq FROM job INDEXED BY job_held
    WHERE held_by >= 'import:' AND held_by < 'import;' AND held_since < :since LIMIT :limit
)

-- name: fail_held
UPDATE job SET status = 'failed', error = 'held by ' || held_by || ' for too long: ' || coalesce(error, ''),
    held_by = NULL, held_since = NULL, ends_at = NULL, completed_at = :now, updated_at = :now
WHERE seq IN (SELECT value FROM json_each(:jobs)) AND +status IN ({hold_expires_from})

-- name: register_worker
-- In the lowest free area of the sidecar, from :least on.
INSERT INTO worker (worker_id, area, pid, birth, host, boot, sidecar, started_at, queues)
VALUES (:worker_id, (
    SELECT min(a.area) + 1
    FROM (SELECT :least - 1 AS area UNION ALL SELECT area FROM worker WHERE area >= :least) AS a
    WHERE NOT EXISTS (SELECT 1 FROM worker AS b WHERE b.area = a.area + 1)
), :pid, :birth, :host, :boot, :sidecar, :now, :queues)

-- name: worker_just_registered
SELECT number, area FROM worker WHERE number = last_insert_rowid()

-- name: forget_worker
DELETE FROM worker WHERE number = :number
    AND NOT EXISTS (SELECT 1 FROM job INDEXED BY job_status WHERE status = 'running' AND worker = :number)

-- name: retire_worker
-- Not while a run of it is open: nobody would look after that again.
UPDATE worker SET area = NULL, ended_at = :now WHERE number = :number AND area IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM job INDEXED BY job_status WHERE status = 'running' AND worker = :number)

-- name: live_workers
-- Those that have not said good-bye: alive, or dead and to be rescued.
SELECT json_group_array(json_array(number, worker_id, area, pid, birth, host, boot, sidecar))
FROM worker WHERE area IS NOT NULL

-- name: place
SELECT host, boot FROM place

-- name: take_place
INSERT OR REPLACE INTO place (only, host, boot) VALUES (1, :host, :boot)

-- name: journal_mode
PRAGMA journal_mode

-- name: integrity
-- 'ok', or what is damaged.
PRAGMA integrity_check(20)

-- name: write_output
-- [job, run, part, at, body] each.
INSERT OR IGNORE INTO output (job, run, part, at, body)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]')
FROM json_each(:parts) WHERE EXISTS (SELECT 1 FROM job WHERE seq = json_extract(value, '$[0]'))

-- name: trim_output
DELETE FROM output WHERE job = :job AND run = :run AND part < :part

-- name: write_progress
-- [job, run, done, total, message, at] each; a late word of an older run is not heard.
INSERT INTO progress (job, run, done, total, message, at)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
FROM json_each(:rows) WHERE EXISTS (SELECT 1 FROM job WHERE seq = json_extract(value, '$[0]'))
ON CONFLICT (job) DO UPDATE SET run = excluded.run, done = excluded.done, total = excluded.total,
    message = excluded.message, at = excluded.at
WHERE excluded.run >= progress.run

-- name: output_of
-- From a part on: the parts of all runs of a job, in order.
SELECT o.run AS run, o.part AS part, o.at AS at, o.body AS text FROM output AS o
WHERE o.job = (SELECT seq FROM job WHERE id = :id) AND (o.run, o.part) > (:run, :part)
ORDER BY o.run, o.part LIMIT :limit

-- name: ask_to_stop
-- The runs under way of jobs.
INSERT INTO stop_request (job, execution, asked_at)
SELECT seq, execution_id, :now FROM job
WHERE seq IN (SELECT value FROM json_each(:jobs)) AND +status = 'running'
ON CONFLICT (job) DO UPDATE SET execution = excluded.execution, asked_at = excluded.asked_at

-- name: stop_requests
-- Leases of runs that are asked to stop.
SELECT s.execution FROM stop_request AS s CROSS JOIN job AS j ON j.seq = s.job
WHERE j.execution_id = s.execution AND +j.status = 'running'

-- name: any_stop_request
SELECT EXISTS (SELECT 1 FROM stop_request)

-- name: forget_stops
-- Requests whose run has ended.
DELETE FROM stop_request WHERE NOT EXISTS (
    SELECT 1 FROM job AS j WHERE j.seq = stop_request.job AND j.execution_id = stop_request.execution
        AND +j.status = 'running'
)

-- name: wrong_counts
-- Where the table counts and the jobs themselves disagree. One statement, so one moment, beside any writers.
SELECT queue, status, sum(noted) AS noted, sum(really) AS really FROM (
    SELECT queue, status, n AS noted, 0 AS really FROM counts
    UNION ALL SELECT queue, status, 0, count(*) FROM job GROUP BY queue, status
) GROUP BY queue, status HAVING sum(noted) != sum(really)

-- name: wrong_parents_left
-- Pending jobs whose mark 1 is not what their edges say; those that news is still on its way to are left out.
SELECT id, parents_left AS noted, {open_parents} AS really FROM job
WHERE status = 'pending' AND (parents > 0 OR parents_left != 0) AND parents_left != {open_parents}
    AND NOT EXISTS (SELECT 1 FROM dependency AS d CROSS JOIN unfinished AS n ON n.parent = d.parent
        WHERE d.child = job.seq)
LIMIT :limit

-- name: wrong_runs
-- Jobs whose history has another number of rows than they have ended runs.
SELECT id, runs - runs_dropped AS noted, (SELECT count(*) FROM execution AS e WHERE e.job = job.seq) AS really
FROM job WHERE runs - runs_dropped != (SELECT count(*) FROM execution AS e WHERE e.job = job.seq)
LIMIT :limit

-- name: without_params
-- No claim ever finds these.
SELECT id FROM job WHERE NOT EXISTS (SELECT 1 FROM params AS p WHERE p.seq = job.seq) LIMIT :limit

-- name: without_slot
-- Jobs whose state gives them a right to a unique key that they do not hold.
SELECT id, status, unique_key AS key FROM job
WHERE unique_key IS NOT NULL AND unique_slot IS NULL AND instr(unique_states, status) > 0
LIMIT :limit

-- name: first_and_last
-- When the first and the last job in the queue were created.
SELECT (SELECT created_at FROM job ORDER BY seq LIMIT 1), (SELECT created_at FROM job ORDER BY seq DESC LIMIT 1)

-- name: worker_list
-- As live_workers, with when they came and how many runs they have under way.
SELECT number, worker_id, area, pid, birth, host, boot, sidecar, started_at, queues, (
    SELECT count(*) FROM job AS j INDEXED BY job_status WHERE j.status = 'running' AND j.worker = w.number
) AS running
FROM worker AS w WHERE area IS NOT NULL ORDER BY number

-- name: held
-- What keeps pending jobs, most first; the error is that of one of them.
SELECT held_by, count(*) AS jobs, min(held_since) AS since, max(error) AS error FROM job INDEXED BY job_held
WHERE held_by IS NOT NULL GROUP BY held_by ORDER BY jobs DESC, held_by LIMIT :limit

-- name: overdue
-- Runs that nobody has settled although their timeout, and a grace, are over.
SELECT count(*) FROM job INDEXED BY job_status
WHERE status = 'running' AND timeout IS NOT NULL AND started_at + timeout + :grace < :now

-- name: add_workflow
INSERT INTO workflow (id, name, created_at) VALUES (:id, :name, :created_at) ON CONFLICT (id) DO NOTHING

-- name: workflow
-- By its id.
SELECT number, id, name, created_at FROM workflow WHERE id = :id

-- name: workflows
-- Newest first.
SELECT number, id, name, created_at FROM workflow ORDER BY number DESC LIMIT :limit

-- name: workflow_ids_beginning
SELECT id FROM workflow WHERE id >= :text AND id < :text || char(0x10FFFF) ORDER BY id LIMIT :limit

-- name: workflow_ids_ending
SELECT id FROM workflow WHERE substr(id, -length(:text)) = :text LIMIT :limit

-- name: add_span
INSERT INTO workflow_span (first, last, workflow, at_end) VALUES (:first, :last, :workflow, :at_end)

-- name: span_of
-- The workflow of a job.
SELECT workflow FROM workflow_span
WHERE first = (SELECT max(first) FROM workflow_span WHERE first <= :job) AND last >= :job

-- name: workflow_counts
-- [status, jobs] of a workflow; reads the index only, so 100,000 jobs take milliseconds.
SELECT json_group_array(json_array(status, n)) FROM (
    SELECT t.value AS status, sum((
        SELECT count(*) FROM job AS j INDEXED BY job_status WHERE j.status = t.value AND j.seq BETWEEN s.first AND s.last
    )) AS n
    FROM json_each(:statuses) AS t CROSS JOIN workflow_span AS s WHERE s.workflow = :workflow GROUP BY t.value
)

-- name: spans_of
-- [first, last, whether they run at its end] of a workflow, in the order of submission.
SELECT json_group_array(json_array(first, last, at_end)) FROM (
    SELECT first, last, at_end FROM workflow_span WHERE workflow = :workflow ORDER BY first
)

-- name: span_next
-- The next jobs of a span in a state, from :first on.
SELECT json_group_array(seq) FROM (
    SELECT seq FROM job INDEXED BY job_status WHERE status = :status AND seq BETWEEN :first AND :last
    ORDER BY seq LIMIT :limit
)

-- name: span_last
-- The same from its end on: a child comes before the parents that it was submitted with.
SELECT json_group_array(seq) FROM (
    SELECT seq FROM job INDEXED BY job_status WHERE status = :status AND seq BETWEEN :first AND :last
    ORDER BY seq DESC LIMIT :limit
)

-- name: workflow_jobs
-- Its jobs as the view shows them, from behind a cursor on, in the order of their submission.
SELECT v.*, {progress_of}, {workflow_of} FROM workflow_span AS s CROSS JOIN main.jobs AS v
    ON v.seq BETWEEN max(s.first, :cursor + 1) AND s.last
WHERE s.workflow = :workflow AND s.last > :cursor ORDER BY s.first, v.seq LIMIT :limit

-- name: workflow_results
-- Outcome each, in the order of submission, from behind a cursor on.
SELECT json_group_array(json_array(seq, id, name, function_module, function_name, status, result, error)) FROM (
    SELECT j.seq AS seq, j.id AS id, j.name AS name, j.function_module AS function_module,
        j.function_name AS function_name, j.status AS status, j.result AS result, j.error AS error
    FROM workflow_span AS s CROSS JOIN job AS j ON j.seq BETWEEN max(s.first, :cursor + 1) AND s.last
    WHERE s.workflow = :workflow AND s.last > :cursor ORDER BY s.first, j.seq LIMIT :limit
)

-- name: workflow_nodes
-- [number, id, name, status, module, function] each: the same without what came out.
SELECT json_group_array(json_array(seq, id, name, status, function_module, function_name)) FROM (
    SELECT j.seq AS seq, j.id AS id, j.name AS name, j.status AS status, j.function_module AS function_module,
        j.function_name AS function_name
    FROM workflow_span AS s CROSS JOIN job AS j ON j.seq BETWEEN max(s.first, :cursor + 1) AND s.last
    WHERE s.workflow = :workflow AND s.last > :cursor ORDER BY s.first, j.seq LIMIT :limit
)

-- name: workflow_can_go_on
-- Whether one of its jobs runs, will be ready without any parent, or waits for a parent elsewhere that has not ended.
SELECT EXISTS (
    SELECT 1 FROM workflow_span AS s CROSS JOIN job AS j INDEXED BY job_status
    ON j.status = 'running' AND j.seq BETWEEN s.first AND s.last WHERE s.workflow = :workflow
) OR EXISTS (
    SELECT 1 FROM workflow_span AS s CROSS JOIN job AS j INDEXED BY job_status
    ON j.status = 'pending' AND j.seq BETWEEN s.first AND s.last
    WHERE s.workflow = :workflow AND (j.parents_left = 0 OR EXISTS (
        SELECT 1 FROM dependency AS e CROSS JOIN job AS p ON p.seq = e.parent
        WHERE e.child = j.seq AND p.status IN ('pending', 'running') AND NOT EXISTS (
            SELECT 1 FROM workflow_span AS t WHERE t.workflow = :workflow AND p.seq BETWEEN t.first AND t.last)
    ))
) OR (SELECT count(*) FROM (SELECT 1 FROM unfinished LIMIT 1))

-- name: still_pending
SELECT json_group_array(j.seq) FROM json_each(:jobs) AS c CROSS JOIN job AS j ON j.seq = c.value
WHERE j.status IN ({cancel_from})

-- name: ended_badly_of
SELECT json_group_array(j.seq) FROM json_each(:jobs) AS c CROSS JOIN job AS j ON j.seq = c.value
WHERE j.status IN ({requeue_from})

-- name: edges_of
-- [job, id of a parent] in the order of its dependencies.
SELECT json_group_array(json_array(child, parent)) FROM (
    SELECT e.child AS child, coalesce(e.parent_id, p.id) AS parent
    FROM json_each(:jobs) AS c CROSS JOIN dependency AS e ON e.child = c.value LEFT JOIN job AS p ON p.seq = e.parent
    ORDER BY e.child, e.position
)

-- name: lengthen_span
-- The last one, if it ends just before these jobs.
UPDATE workflow_span SET last = :last
WHERE first = (SELECT max(first) FROM workflow_span WHERE first < :first) AND last = :first - 1
    AND workflow = :workflow AND NOT at_end

-- name: clear_spans
-- Spans that hold none of their jobs any more, of those that :jobs were in.
DELETE FROM workflow_span WHERE first IN (
    SELECT (SELECT max(s.first) FROM workflow_span AS s WHERE s.first <= c.value) FROM json_each(:jobs) AS c
) AND NOT EXISTS (SELECT 1 FROM job AS j WHERE j.seq BETWEEN workflow_span.first AND workflow_span.last)

-- name: clear_workflows
-- Those that have no job any more.
DELETE FROM workflow WHERE number IN (SELECT value FROM json_each(:workflows))
    AND NOT EXISTS (SELECT 1 FROM workflow_span AS s WHERE s.workflow = workflow.number)

-- name: any_workflow
SELECT EXISTS (SELECT 1 FROM workflow_span)

-- name: workflows_of
-- The workflow of each of :jobs that is in one.
SELECT json_group_array(s.workflow) FROM json_each(:jobs) AS c CROSS JOIN workflow_span AS s
    ON s.first = (SELECT max(t.first) FROM workflow_span AS t WHERE t.first <= c.value)
WHERE s.last >= c.value

-- name: descends
-- Whether one of the jobs with these ids waits, over however many others, for a job.
WITH RECURSIVE up (seq) AS (
    SELECT j.seq FROM json_each(:ids) AS i CROSS JOIN job AS j ON j.id = i.value
    WHERE j.status != 'completed' AND j.seq != :job
    UNION
    SELECT e.parent FROM up CROSS JOIN dependency AS e ON e.child = up.seq CROSS JOIN job AS p ON p.seq = e.parent
    WHERE p.status != 'completed' OR p.seq = :job
)
SELECT EXISTS (SELECT 1 FROM up WHERE seq = :job)

-- name: waiting_children
-- [child, status] of a job, of those that have not run: what it adds they wait for too.
SELECT json_group_array(json_array(child, status)) FROM (
    SELECT e.child AS child, j.status AS status
    FROM dependency AS e CROSS JOIN job AS j ON j.seq = e.child
    WHERE e.parent = :parent AND j.status NOT IN ('running', 'completed') ORDER BY e.child LIMIT :limit
)

-- name: grow_edges
-- From each job that was just added, numbered :first to :last, to each child, behind the edges that it has.
WITH child AS MATERIALIZED (
    SELECT c.value AS seq, (SELECT max(d.position) + 1 FROM dependency AS d WHERE d.child = c.value) AS position
    FROM json_each(:children) AS c
)
INSERT INTO dependency (child, position, parent)
SELECT child.seq, child.position + j.seq - :first, j.seq FROM child CROSS JOIN job AS j
WHERE j.seq BETWEEN :first AND :last

-- name: grow_parents
-- The children wait for :n more.
UPDATE job SET parents = parents + :n, parents_left = parents_left + :n
WHERE seq IN (SELECT value FROM json_each(:children))
-- name: pause_queue
-- What was paused before keeps its moment, and its reason if there is no new one.
INSERT INTO queue (name, paused_at, reason) VALUES (:name, :now, :reason)
ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(paused_at, excluded.paused_at),
    reason = CASE WHEN paused_at IS NULL THEN excluded.reason ELSE coalesce(excluded.reason, reason) END

-- name: resume_queue
UPDATE queue SET paused_at = NULL, reason = NULL WHERE name = :name AND paused_at IS NOT NULL

-- name: limit_queue
INSERT INTO queue (name, concurrency) VALUES (:name, :concurrency)
ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency

-- name: age_queue
INSERT INTO queue (name, ageing) VALUES (:name, :ageing)
ON CONFLICT (name) DO UPDATE SET ageing = excluded.ageing

-- name: forget_queue
-- One without any settings.
DELETE FROM queue WHERE name = :name AND paused_at IS NULL AND concurrency IS NULL AND ageing IS NULL

-- name: is_paused
SELECT EXISTS (SELECT 1 FROM queue WHERE name = :name AND paused_at IS NOT NULL)

-- name: paused_queues
SELECT name FROM queue WHERE paused_at IS NOT NULL

-- name: queues
-- Those that have jobs or settings.
SELECT q.name AS name, s.paused_at AS paused_at, s.reason AS reason, s.concurrency AS concurrency, s.ageing AS ageing
FROM (SELECT name FROM queue UNION SELECT queue FROM counts WHERE n != 0) AS q LEFT JOIN queue AS s ON s.name = q.name
ORDER BY q.name

-- name: queue_counts
SELECT queue, status, n FROM counts WHERE n != 0

-- name: next_tick
-- When a schedule is due next.
SELECT due_at FROM schedule INDEXED BY schedule_due WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1

-- name: schedule_columns
-- fragment: a schedule, in the order of schedules.ScheduleRow.
name, revision, rule, misfire, catch_up, overlap, job, anchor, paused, tick_at, last_tick, last_job,
    skipped_at, skipped_for, error, error_at, created_at, updated_at

-- name: schedules_due
-- Longest overdue first.
SELECT json_group_array(json_array({schedule_columns})) FROM (
    SELECT * FROM schedule INDEXED BY schedule_due WHERE due_at <= :now ORDER BY due_at LIMIT :limit
)

-- name: schedule_named
SELECT json_group_array(json_array({schedule_columns})) FROM schedule WHERE name = :name

-- name: schedule_list
-- All of them, and how the last job of each stands: its status, its error.
SELECT json_group_array(json_array({schedule_columns}, status, job_error)) FROM (
    SELECT s.*, j.status AS status, j.error AS job_error
    FROM schedule AS s LEFT JOIN job AS j ON j.id = s.last_job ORDER BY s.name
)

-- name: put_schedule
-- Only a change of the rule moves the next tick (null keeps it).
INSERT INTO schedule (name, rule, misfire, catch_up, overlap, job, anchor, tick_at, due_at, created_at, updated_at)
VALUES (:name, :rule, :misfire, :catch_up, :overlap, :job, :now, :tick, :tick, :now, :now)
ON CONFLICT (name) DO UPDATE SET revision = revision + 1, misfire = excluded.misfire, catch_up = excluded.catch_up,
    overlap = excluded.overlap, job = excluded.job, updated_at = excluded.updated_at, error = NULL, error_at = NULL,
    rule = excluded.rule,
    anchor = CASE WHEN rule = excluded.rule THEN anchor ELSE excluded.anchor END,
    tick_at = CASE WHEN rule = excluded.rule THEN tick_at WHEN NOT paused THEN excluded.tick_at END,
    due_at = CASE WHEN rule = excluded.rule THEN tick_at WHEN NOT paused THEN excluded.tick_at END

-- name: pause_schedule
UPDATE schedule SET paused = 1, tick_at = NULL, due_at = NULL, updated_at = :now WHERE name = :name AND NOT paused

-- name: resume_schedule
UPDATE schedule SET paused = 0, tick_at = :tick, due_at = :tick, updated_at = :now
WHERE name = :name AND revision = :revision AND paused

-- name: drop_schedule
DELETE FROM schedule WHERE name = :name

-- name: schedules_unchanged
-- [place, id of its last job if that has not ended] of those of :firings, [name, revision, tick] each, that are still
-- as they were read.
SELECT json_group_array(json_array(o.key, (
    SELECT j.id FROM job AS j WHERE j.id = s.last_job AND +j.status IN ({unended})
)))
FROM json_each(:firings) AS o CROSS JOIN schedule AS s ON s.name = json_extract(o.value, '$[0]')
WHERE s.revision = json_extract(o.value, '$[1]') AND s.tick_at = json_extract(o.value, '$[2]')

-- name: last_job_of
-- The last job of a schedule, if that has not ended.
SELECT j.id FROM schedule AS s CROSS JOIN job AS j ON j.id = s.last_job
WHERE s.name = :name AND +j.status IN ({unended})

-- name: ticks_taken
-- Those of :ticks, [schedule, tick] each, that have a job.
SELECT json_group_array(json_array(j.schedule, j.tick)) FROM json_each(:ticks) AS o
CROSS JOIN job AS j INDEXED BY job_tick
    ON j.schedule = json_extract(o.value, '$[0]') AND j.tick = json_extract(o.value, '$[1]')

-- name: mark_ticks
-- [id, schedule, tick] of jobs that have just been added.
UPDATE job SET schedule = json_extract(o.value, '$[1]'), tick = json_extract(o.value, '$[2]')
FROM json_each(:ticks) AS o WHERE job.id = json_extract(o.value, '$[0]')

-- name: advance_schedules
-- [name, next tick, last tick, id of the last job, skipped tick, why skipped] each; null keeps what was.
UPDATE schedule SET tick_at = json_extract(o.value, '$[1]'), due_at = json_extract(o.value, '$[1]'),
    last_tick = coalesce(json_extract(o.value, '$[2]'), last_tick),
    last_job = coalesce(json_extract(o.value, '$[3]'), last_job),
    skipped_at = coalesce(json_extract(o.value, '$[4]'), skipped_at),
    skipped_for = coalesce(json_extract(o.value, '$[5]'), skipped_for),
    error = NULL, error_at = NULL
FROM json_each(:firings) AS o WHERE schedule.name = json_extract(o.value, '$[0]')

-- name: note_last_job
UPDATE schedule SET last_job = :job WHERE name = :name

-- name: put_off_schedules
-- [name, revision, tick, error] each: the tick stays, and is tried again.
UPDATE schedule SET due_at = :due_at, error = json_extract(o.value, '$[3]'), error_at = :now
FROM json_each(:refused) AS o WHERE schedule.name = json_extract(o.value, '$[0]')
    AND schedule.revision = json_extract(o.value, '$[1]') AND schedule.tick_at = json_extract(o.value, '$[2]')
-- name: declare_limits
-- [key, concurrency, amount, per] each: the newest declaration counts, where no operator has set something else. A change
-- is a reason to look whether there is room.
INSERT INTO limit_key (key, concurrency, amount, per, declared_concurrency, declared_amount, declared_per)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]')
FROM json_each(:keys) WHERE true
ON CONFLICT (key) DO UPDATE SET
    declared_concurrency = excluded.declared_concurrency, declared_amount = excluded.declared_amount,
    declared_per = excluded.declared_per,
    concurrency = iif(concurrency_is_set, concurrency, excluded.concurrency),
    amount = iif(rate_is_set, amount, excluded.amount), per = iif(rate_is_set, per, excluded.per),
    opens_at = 0
WHERE declared_concurrency IS NOT excluded.concurrency OR declared_amount IS NOT excluded.amount
    OR declared_per IS NOT excluded.per

-- name: insert_lines
-- [queue, name, [key, ...]] each; those that are there stay.
INSERT OR IGNORE INTO limit_line (queue, name)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:lines)

-- name: insert_members
INSERT OR IGNORE INTO limit_member (line, place, key)
SELECT n.number, m.key, k.number
FROM json_each(:lines) AS l CROSS JOIN limit_line AS n
    ON n.queue = json_extract(l.value, '$[0]') AND n.name = json_extract(l.value, '$[1]')
CROSS JOIN json_each(l.value, '$[2]') AS m CROSS JOIN limit_key AS k ON k.key = m.value

-- name: line_numbers
-- In the order of :lines.
SELECT json_group_array(n.number)
FROM json_each(:lines) AS l CROSS JOIN limit_line AS n
    ON n.queue = json_extract(l.value, '$[0]') AND n.name = json_extract(l.value, '$[1]')

-- name: stand_in_line
-- [job, line, costs] each: new jobs are born held. The triggers of limits do the rest.
UPDATE job SET line = json_extract(o.value, '$[1]'), costs = json_extract(o.value, '$[2]'),
    held_by = 'limit:' || (SELECT l.name FROM limit_line AS l WHERE l.number = json_extract(o.value, '$[1]'))
FROM json_each(:jobs) AS o WHERE job.seq = json_extract(o.value, '$[0]') AND +job.status = 'pending'

-- name: leave_line
-- Of a pending job that is declared anew, without limits.
UPDATE job SET line = NULL, costs = NULL WHERE seq = :job AND line IS NOT NULL AND +status = 'pending'

-- name: keys_that_open
SELECT json_group_array(number) FROM (SELECT number FROM limit_key WHERE opens_at <= :now ORDER BY opens_at LIMIT :limit)

-- name: lines_to_look_at
-- [line, queue, waits_for, [key, ...]] each: those that something has changed in, and the first few of each queue that
-- wait for one of :keys, in the order of their first jobs; or for a key of those lines, for they were there before.
WITH RECURSIVE changed(number) AS MATERIALIZED (
    SELECT number FROM limit_line INDEXED BY limit_line_waits WHERE waits_for = 0
    ORDER BY queue, head_priority DESC, head_seq LIMIT :limit
), waiting(key, queue) AS (
    SELECT k.key, (SELECT min(queue) FROM limit_line WHERE waits_for = k.key) FROM (
        SELECT value AS key FROM json_each(:keys)
        UNION SELECT m.key FROM changed CROSS JOIN limit_member AS m ON m.line = changed.number
    ) AS k
    UNION ALL
    SELECT key, (SELECT min(queue) FROM limit_line WHERE waits_for = key AND queue > waiting.queue)
    FROM waiting WHERE queue IS NOT NULL
)
SELECT json_group_array(json_array(l.number, l.queue, l.waits_for, json((
    SELECT json_group_array(m.key) FROM limit_member AS m WHERE m.line = l.number
)))) FROM (
    SELECT number FROM changed
    UNION ALL
    SELECT w.number FROM waiting CROSS JOIN limit_line AS w ON w.number IN (
        SELECT f.number FROM limit_line AS f INDEXED BY limit_line_waits
        WHERE f.waits_for = waiting.key AND f.queue = waiting.queue
        ORDER BY f.head_priority DESC, f.head_seq LIMIT :few
    )
) AS o CROSS JOIN limit_line AS l ON l.number = o.number

-- name: running_cost
-- fragment: what the jobs cost that run under a key (k).
(SELECT coalesce(sum(o.cost), 0) FROM holding AS o CROSS JOIN job AS h ON h.seq = o.job
    WHERE o.key = k.number AND +h.status = 'running')

-- name: room_columns
-- fragment: what is known of a key (k), in the order of rooms.Room. Those that run are found by their own rows, so
-- whatever ended a run has freed what it held.
k.number, k.concurrency, k.amount, k.per, k.used, k.backs_off_until, k.is_crowded,
    (SELECT s.at FROM limit_start AS s WHERE s.key = k.number ORDER BY s.at LIMIT 1),
    (SELECT coalesce(sum(min(o.cost, coalesce(k.concurrency, o.cost))), 0)
        FROM holding AS o CROSS JOIN job AS h ON h.seq = o.job WHERE o.key = k.number AND +h.status = 'running')

-- name: rooms
SELECT json_group_array(json_array({room_columns}))
FROM json_each(:keys) AS i CROSS JOIN limit_key AS k ON k.number = i.value

-- name: rooms_beside_admitted
-- The same, with [queue, cost, how many] of the jobs that were let through and are not claimed yet, and with how many
-- lines the key has, 2 standing for any number.
SELECT json_group_array(json_array({room_columns}, json((
    SELECT json_group_array(json_array(queue, cost, n)) FROM (
        SELECT j.queue AS queue, sum(min(a.cost, coalesce(k.concurrency, a.cost))) AS cost, count(*) AS n
        FROM admitted AS a CROSS JOIN job AS j ON j.seq = a.job WHERE a.key = k.number GROUP BY j.queue
    )
)), (SELECT count(*) FROM (SELECT 1 FROM limit_member AS m WHERE m.key = k.number LIMIT 2))))
FROM json_each(:keys) AS i CROSS JOIN limit_key AS k ON k.number = i.value

-- name: starts_that_are_over
-- [key, at, job, cost] each: no longer within the time of their key.
SELECT json_group_array(json_array(key, at, job, cost)) FROM (
    SELECT s.key AS key, s.at AS at, s.job AS job, s.cost AS cost
    FROM json_each(:keys) AS i CROSS JOIN limit_key AS k ON k.number = i.value
    CROSS JOIN limit_start AS s ON s.key = k.number AND s.at <= :now - coalesce(k.per, 0) LIMIT :limit
)

-- name: forget_starts
-- [key, at, job, cost] each.
DELETE FROM limit_start WHERE (key, at, job) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    FROM json_each(:starts)
)

-- name: give_back_rate
-- The same ones: what keys have used is the sum of what is in the ledger.
UPDATE limit_key SET used = used - g.cost FROM (
    SELECT json_extract(value, '$[0]') AS key, sum(json_extract(value, '$[3]')) AS cost
    FROM json_each(:starts) GROUP BY 1
) AS g WHERE limit_key.number = g.key

-- name: first_in_lines
-- [line, job, priority, costs] of the first few that wait in some lines for nothing but their limits.
SELECT json_group_array(json_array(l.number, j.seq, j.priority, j.costs))
FROM json_each(:lines) AS i CROSS JOIN limit_line AS l ON l.number = i.value
CROSS JOIN job AS j ON j.seq IN (
    SELECT w.seq FROM job AS w INDEXED BY job_line
    WHERE w.line = l.number AND w.held_by = 'limit:' || l.name AND w.parents_left = 0 AND w.due_at IS NULL
    ORDER BY w.priority DESC, w.seq LIMIT :most
)

-- name: let_through
UPDATE job SET held_by = NULL WHERE seq IN (SELECT value FROM json_each(:jobs))

-- name: note_admitted
-- [key, job, cost] each.
INSERT OR REPLACE INTO admitted (key, job, cost)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:rows)

-- name: note_holding
-- [key, job, cost] each, of jobs that are claimed.
INSERT OR REPLACE INTO holding (key, job, cost)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:rows)

-- name: forget_admitted
-- The same ones; one that has come back from a run was not let through again.
DELETE FROM admitted WHERE (key, job) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:rows)
)

-- name: put_lines
-- [line, waits_for, head_priority, head_seq] each.
UPDATE limit_line SET waits_for = json_extract(o.value, '$[1]'), head_priority = json_extract(o.value, '$[2]'),
    head_seq = json_extract(o.value, '$[3]')
FROM json_each(:lines) AS o WHERE limit_line.number = json_extract(o.value, '$[0]')

-- name: put_keys
-- [key, opens_at, is_crowded] each.
UPDATE limit_key SET opens_at = json_extract(o.value, '$[1]'), is_crowded = json_extract(o.value, '$[2]')
FROM json_each(:keys) AS o WHERE limit_key.number = json_extract(o.value, '$[0]')

-- name: limits_of
-- [job, costs, [key, ...]] of jobs that are about to be claimed, in their order.
SELECT json_group_array(json_array(j.seq, j.costs, json((
    SELECT json_group_array(m.key) FROM limit_member AS m WHERE m.line = j.line
))))
FROM json_each(:jobs) AS i CROSS JOIN job AS j ON j.seq = i.value

-- name: note_starts
-- [key, at, job, cost] each.
INSERT INTO limit_start (key, at, job, cost)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]')
FROM json_each(:starts) WHERE true
ON CONFLICT (key, at, job) DO UPDATE SET cost = cost + excluded.cost

-- name: use_rate
-- [key, cost, opens_at] each: when it opens matters where somebody waits for it.
UPDATE limit_key SET used = used + json_extract(o.value, '$[1]'),
    opens_at = CASE WHEN opens_at IS NULL AND EXISTS (
        SELECT 1 FROM limit_line AS l WHERE l.waits_for = limit_key.number
    ) THEN json_extract(o.value, '$[2]') ELSE opens_at END
FROM json_each(:keys) AS o WHERE limit_key.number = json_extract(o.value, '$[0]')

-- name: back_in_line
-- Jobs that were let through, and have met a key without room. The triggers of limits have the keys looked at again.
UPDATE job SET held_by = 'limit:' || (SELECT l.name FROM limit_line AS l WHERE l.number = job.line)
WHERE seq IN (SELECT value FROM json_each(:jobs))

-- name: let_go
-- [job, line] each: runs that have ended.
DELETE FROM holding WHERE (key, job) IN (
    SELECT m.key, json_extract(o.value, '$[0]')
    FROM json_each(:jobs) AS o CROSS JOIN limit_member AS m ON m.line = json_extract(o.value, '$[1]')
)

-- name: open_keys
-- Of lines whose runs have ended: to be looked at, where somebody waits.
UPDATE limit_key SET opens_at = 0
WHERE number IN (
    SELECT m.key FROM json_each(:lines) AS l CROSS JOIN limit_member AS m ON m.line = l.value
) AND opens_at IS NOT 0 AND EXISTS (SELECT 1 FROM limit_line AS w WHERE w.waits_for = limit_key.number)

-- name: any_start
SELECT EXISTS (SELECT 1 FROM limit_start)

-- name: starts_of
-- [job, line, at] each -> [key, at, job, cost] of those that are noted.
SELECT json_group_array(json_array(s.key, s.at, s.job, s.cost))
FROM json_each(:jobs) AS o CROSS JOIN limit_member AS m ON m.line = json_extract(o.value, '$[1]')
CROSS JOIN limit_start AS s
    ON s.key = m.key AND s.at = json_extract(o.value, '$[2]') AND s.job = json_extract(o.value, '$[0]')

-- name: correct_starts
-- [job, line, at, when it really was] each.
WITH b AS MATERIALIZED (
    SELECT m.key AS key, json_extract(o.value, '$[0]') AS job, json_extract(o.value, '$[2]') AS at,
        json_extract(o.value, '$[3]') AS really
    FROM json_each(:jobs) AS o CROSS JOIN limit_member AS m ON m.line = json_extract(o.value, '$[1]')
)
UPDATE OR IGNORE limit_start SET at = b.really FROM b
WHERE limit_start.key = b.key AND limit_start.at = b.at AND limit_start.job = b.job

-- name: back_off
-- [line, key or NULL for all of its keys, until] each: nothing starts under these keys before.
UPDATE limit_key SET backs_off_until = max(coalesce(backs_off_until, 0), b.until) FROM (
    SELECT m.key AS key, max(json_extract(o.value, '$[2]')) AS until
    FROM json_each(:jobs) AS o CROSS JOIN limit_member AS m ON m.line = json_extract(o.value, '$[0]')
    CROSS JOIN limit_key AS k ON k.number = m.key
    WHERE json_extract(o.value, '$[1]') IS NULL OR k.key = json_extract(o.value, '$[1]') GROUP BY m.key
) AS b WHERE limit_key.number = b.key

-- name: set_limit
-- By an operator: :sets_concurrency and :sets_rate say which of the two; jobs' declarations do not change it.
INSERT INTO limit_key (key, concurrency, amount, per, concurrency_is_set, rate_is_set)
VALUES (:key, :concurrency, :amount, :per, :sets_concurrency, :sets_rate)
ON CONFLICT (key) DO UPDATE SET
    concurrency = iif(:sets_concurrency, :concurrency, concurrency),
    amount = iif(:sets_rate, :amount, amount), per = iif(:sets_rate, :per, per),
    concurrency_is_set = max(concurrency_is_set, :sets_concurrency), rate_is_set = max(rate_is_set, :sets_rate),
    opens_at = 0

-- name: reset_limit
-- What jobs declare counts again, and it does not back off.
UPDATE limit_key SET concurrency = declared_concurrency, amount = declared_amount, per = declared_per,
    concurrency_is_set = 0, rate_is_set = 0, backs_off_until = NULL, opens_at = 0
WHERE key = :key

-- name: limit_list
-- Each key, or one: what it allows, what runs and waits, and what counts of its starts.
SELECT k.key AS key, k.concurrency AS concurrency, k.amount AS amount, k.per AS per,
    k.concurrency_is_set AS concurrency_is_set, k.rate_is_set AS rate_is_set,
    {running_cost} AS running,
    (SELECT count(*) FROM limit_member AS m CROSS JOIN limit_line AS l ON l.number = m.line
        CROSS JOIN job AS w ON w.line = l.number AND w.held_by = 'limit:' || l.name
        WHERE m.key = k.number) AS waiting,
    (SELECT coalesce(sum(s.cost), 0) FROM limit_start AS s
        WHERE s.key = k.number AND s.at > :now - k.per) AS started,
    iif(k.backs_off_until > :now, k.backs_off_until, NULL) AS backs_off_until
FROM limit_key AS k WHERE :key IS NULL OR k.key = :key ORDER BY k.key LIMIT :limit

-- name: limits_on
-- Each limit of a job that is held by one: what it allows and holds, which job holds it longest, since when and until when
-- nothing can start, and whether it is the one that the line waits for.
SELECT k.key AS key, k.concurrency AS concurrency, k.amount AS amount, k.per AS per,
    k.number = l.waits_for AS is_full,
    (SELECT json_group_array(id) FROM (
        SELECT h.id AS id FROM holding AS o CROSS JOIN job AS h ON h.seq = o.job
        WHERE o.key = k.number AND +h.status = 'running' LIMIT 5
    )) AS running_ids,
    {running_cost} AS running,
    (SELECT coalesce(sum(s.cost), 0) FROM limit_start AS s
        WHERE s.key = k.number AND s.at > :now - k.per) AS started,
    iif(k.backs_off_until > :now, k.backs_off_until, NULL) AS backs_off_until,
    iif(k.opens_at > 0, k.opens_at, NULL) AS opens_at,
    (SELECT count(*) FROM (SELECT 1 FROM job AS w INDEXED BY job_line
        WHERE w.line = j.line AND w.held_by = j.held_by AND w.parents_left = 0 AND w.due_at IS NULL
            AND (w.priority > j.priority OR (w.priority = j.priority AND w.seq < j.seq)) LIMIT :limit)) AS ahead
FROM job AS j CROSS JOIN limit_line AS l ON l.number = j.line CROSS JOIN limit_member AS m ON m.line = l.number
CROSS JOIN limit_key AS k ON k.number = m.key
WHERE j.id = :id AND j.held_by = 'limit:' || l.name

-- name: idle_lines
-- From a number on: [the last one looked at, [those in which no job stands any more]].
SELECT max(number), json_group_array(number) FILTER (
    WHERE NOT EXISTS (SELECT 1 FROM job AS j INDEXED BY job_of_line WHERE j.line = f.number)
) FROM (SELECT number FROM limit_line WHERE number > :cursor ORDER BY number LIMIT :limit) AS f

-- name: idle_keys
-- The same for keys that no line has, and no operator has set, but for starts that still count.
SELECT max(number), json_group_array(number) FILTER (
    WHERE NOT (f.concurrency_is_set OR f.rate_is_set) AND coalesce(f.backs_off_until, 0) <= :now
        AND NOT EXISTS (SELECT 1 FROM limit_member AS m WHERE m.key = f.number)
        AND NOT EXISTS (SELECT 1 FROM limit_start AS s WHERE s.key = f.number AND s.at > :now - coalesce(f.per, 0))
) FROM (SELECT * FROM limit_key WHERE number > :cursor ORDER BY number LIMIT :limit) AS f

-- name: forget_lines
DELETE FROM limit_line WHERE number IN (SELECT value FROM json_each(:lines))
    AND NOT EXISTS (SELECT 1 FROM job AS j INDEXED BY job_of_line WHERE j.line = limit_line.number)

-- name: forget_members
-- Of lines that are gone.
DELETE FROM limit_member WHERE line IN (SELECT value FROM json_each(:lines))
    AND NOT EXISTS (SELECT 1 FROM limit_line AS l WHERE l.number = limit_member.line)

-- name: forget_keys
DELETE FROM limit_key WHERE number IN (SELECT value FROM json_each(:keys))
    AND NOT (concurrency_is_set OR rate_is_set)
    AND NOT EXISTS (SELECT 1 FROM limit_member AS m WHERE m.key = limit_key.number)

-- name: forget_starts_of
-- Of keys that are gone.
DELETE FROM limit_start WHERE key IN (SELECT value FROM json_each(:keys))
    AND NOT EXISTS (SELECT 1 FROM limit_key AS k WHERE k.number = limit_start.key)
