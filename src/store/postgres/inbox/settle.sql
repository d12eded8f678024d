WITH
s AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::text[],
            $7::bigint[], $8::integer[], $9::bytea[])
        WITH ORDINALITY AS s (forward, token, state, due_at, at, error, took, status, answer, place)),
-- In order: two receivers that settle the same ones, of which one has lost its leases, never wait in a circle. One by
-- one: joined as a whole, all forwards would be read while there are some ten thousands of them.
held AS MATERIALIZED (
    SELECT f.id FROM (SELECT forward, token FROM s ORDER BY forward) s
    CROSS JOIN LATERAL (SELECT f.id FROM @forwards f WHERE f.id = s.forward AND f.token = s.token FOR UPDATE) f),
-- What is dead already was dropped by hand during the attempt: only a delivery counts.
changed AS (
    UPDATE @forwards f SET
        state = CASE WHEN f.state = 2 AND s.state = 0 THEN 2 ELSE s.state END,
        attempts = f.attempts + 1,
        due_at = CASE WHEN f.state = 2 AND s.state = 0 THEN f.due_at ELSE s.due_at END,
        settled_at = CASE WHEN s.state = 0 THEN f.settled_at ELSE s.at END,
        error = CASE WHEN f.state = 2 AND s.state = 0 THEN f.error ELSE s.error END,
        token = NULL, leased_until = NULL
    FROM s WHERE s.forward = f.id AND s.token = f.token AND s.state <> 3 AND f.id IN (SELECT id FROM held)
    RETURNING f.id, f.attempts, f.state),
skipped AS (
    DELETE FROM @forwards f USING s WHERE s.forward = f.id AND s.token = f.token AND s.state = 3 RETURNING f.id),
forgotten AS (
    DELETE FROM @attempts a USING skipped k WHERE a.forward = k.id),
noted AS (
    INSERT INTO @attempts (forward, slot, number, at, took, status, answer, error, next_at)
    SELECT c.id, c.attempts % 16, c.attempts, s.at, s.took, s.status, s.answer, s.error,
           CASE WHEN c.state = 0 THEN s.due_at END
    FROM changed c JOIN s ON s.forward = c.id
    ON CONFLICT (forward, slot) DO UPDATE SET number = excluded.number, at = excluded.at, took = excluded.took,
        status = excluded.status, answer = excluded.answer, error = excluded.error, next_at = excluded.next_at)
SELECT s.place FROM s WHERE s.forward IN (SELECT id FROM changed UNION ALL SELECT id FROM skipped)
