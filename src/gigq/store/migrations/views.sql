-- The shape in which gigq 0.5.1 had its tables, to be read by people's own SQL. Made anew after every migration: a
-- migration that adds a column shows it here, behind those of 0.5.1.

DROP VIEW IF EXISTS jobs;
DROP VIEW IF EXISTS job_executions;

CREATE VIEW jobs AS
SELECT
    j.id AS id,
    j.name AS name,
    j.function_name AS function_name,
    j.function_module AS function_module,
    (SELECT p.body FROM params AS p WHERE p.seq = j.seq) AS params,
    j.priority AS priority,
    CASE WHEN j.parents = 0 THEN '[]' ELSE (
        SELECT json_group_array(d.id) FROM (
            SELECT coalesce(e.parent_id, (SELECT q.id FROM job AS q WHERE q.seq = e.parent)) AS id
            FROM dependency AS e WHERE e.child = j.seq ORDER BY e.position
        ) AS d
    ) END AS dependencies,
    j.max_attempts AS max_attempts,
    CASE WHEN j.timeout % 1000000 = 0 THEN j.timeout / 1000000 ELSE j.timeout / 1000000.0 END AS timeout,
    j.description AS description,
    j.status AS status,
    strftime('%Y-%m-%dT%H:%M:%S', j.created_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.created_at % 1000000) AS created_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.updated_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.updated_at % 1000000) AS updated_at,
    j.attempts + (j.status = 'running') AS attempts,
    j.result AS result,
    j.error AS error,
    strftime('%Y-%m-%dT%H:%M:%S', j.started_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.started_at % 1000000) AS started_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.completed_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.completed_at % 1000000) AS completed_at,
    CASE WHEN j.status = 'running' THEN (
        SELECT w.worker_id FROM worker AS w WHERE w.number = j.worker
    ) END AS worker_id,
    j.pass_parent_results AS pass_parent_results,
    CASE WHEN j.retry_delay % 1000000 = 0 THEN j.retry_delay / 1000000
        ELSE j.retry_delay / 1000000.0 END AS retry_delay,
    strftime('%Y-%m-%dT%H:%M:%S', j.due_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.due_at % 1000000) AS retry_after,
    j.queue AS queue,
    strftime('%Y-%m-%dT%H:%M:%S', j.due_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.due_at % 1000000) AS run_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.expires_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.expires_at % 1000000) AS expires_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.deadline_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.deadline_at % 1000000) AS deadline_at,
    j.on_parent_failure AS on_parent_failure,
    j.crashes AS crashes,
    j.max_crashes AS max_crashes,
    j.parents_left AS parents_left,
    j.held_by AS held_by,
    j.retry AS retry,
    j.schedule AS schedule,
    strftime('%Y-%m-%dT%H:%M:%S', j.tick / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.tick % 1000000) AS tick,
    j.unique_key AS unique_key,
    (SELECT n.tags FROM annotation AS n WHERE n.seq = j.seq) AS tags,
    (SELECT n.metadata FROM annotation AS n WHERE n.seq = j.seq) AS metadata,
    (SELECT n.name FROM limit_line AS n WHERE n.number = j.line) AS limits,
    j.seq AS seq
FROM job AS j;

CREATE VIEW job_executions AS
SELECT
    e.id AS id,
    j.id AS job_id,
    coalesce((SELECT w.worker_id FROM worker AS w WHERE w.number = e.worker), e.worker_id) AS worker_id,
    e.status AS status,
    strftime('%Y-%m-%dT%H:%M:%S', e.started_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', e.started_at % 1000000) AS started_at,
    strftime('%Y-%m-%dT%H:%M:%S', e.completed_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', e.completed_at % 1000000) AS completed_at,
    CASE WHEN e.status = 'completed' AND e.run = j.runs AND j.status = 'completed' THEN j.result
        ELSE e.result END AS result,
    e.error AS error,
    e.run AS run
FROM execution AS e JOIN job AS j ON j.seq = e.job
UNION ALL
SELECT
    j.execution_id, j.id,
    (SELECT w.worker_id FROM worker AS w WHERE w.number = j.worker),
    'running',
    strftime('%Y-%m-%dT%H:%M:%S', j.started_at / 1000000, 'unixepoch')
        || printf('.%06d+00:00', j.started_at % 1000000),
    NULL, NULL, NULL, j.runs + 1
FROM job AS j WHERE j.status = 'running';
