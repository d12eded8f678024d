WITH
open AS (
    SELECT id, resumed_at FROM @targets WHERE id = $1 AND paused_at IS NULL AND coalesce(held_until, 0) <= $2),
-- What nobody has leased, as far as no other receiver is claiming it right now. Due from 0 to 0, as the order by id alone
-- would be that of all forwards, and those before the first pending one would be read each time.
fresh AS (
    SELECT id, row_number() OVER () AS place FROM (
        SELECT f.id FROM @forwards f
        WHERE f.state = 0 AND f.target = (SELECT id FROM open) AND f.due_at BETWEEN 0 AND 0
            AND coalesce(f.leased_until, 0) <= $2
        ORDER BY f.due_at {order}, f.id {order} LIMIT $4 FOR UPDATE SKIP LOCKED) f),
-- What failed before and is due, and then what is due so late that a clock was wrong.
late AS (
    SELECT f.id FROM @forwards f
    WHERE f.state = 0 AND f.target = (SELECT id FROM open) AND f.due_at BETWEEN 1 AND $2
        AND coalesce(f.leased_until, 0) <= $2
    ORDER BY f.due_at, f.id LIMIT $5 FOR UPDATE SKIP LOCKED),
far AS (
    SELECT f.id FROM @forwards f
    WHERE f.state = 0 AND f.target = (SELECT id FROM open) AND f.due_at >= $6 AND coalesce(f.leased_until, 0) <= $2
    ORDER BY f.due_at, f.id LIMIT $5 FOR UPDATE SKIP LOCKED),
again AS (
    SELECT id, row_number() OVER () AS place FROM (SELECT id FROM late UNION ALL SELECT id FROM far) f LIMIT $5),
-- Each kind has its part, and what the other leaves of its own.
shares AS (
    SELECT greatest($7, $4 - (SELECT count(*) FROM fresh)) AS again, (SELECT count(*) FROM again) AS waiting),
taken AS (
    SELECT id, place, 0 AS kind FROM fresh, shares WHERE place <= $4 - least(waiting, again)
    UNION ALL SELECT id, place, 1 FROM again, shares WHERE place <= shares.again),
sized AS MATERIALIZED (
    SELECT t.id, t.place, t.kind, f.delivery, f.first_event, f.last_event, x.events, x.start, x.bytes
    FROM taken t JOIN @forwards f ON f.id = t.id CROSS JOIN LATERAL (
        SELECT count(*) AS events, min(e.start) AS start, coalesce(max(e.start + e.length) - min(e.start), 0) AS bytes
        FROM @events e WHERE e.id BETWEEN f.first_event AND f.last_event AND e.delivery = f.delivery) x),
-- Large ones of the one kind leave room for the other.
kept AS MATERIALIZED (
    SELECT * FROM (
        SELECT s.*, sum(s.bytes) OVER (PARTITION BY s.kind ORDER BY s.place) - s.bytes AS before FROM sized s) s
    WHERE place = 1 OR before < $8 / CASE WHEN (SELECT count(DISTINCT kind) FROM sized) = 2 THEN 2 ELSE 1 END),
-- By chance, not from a sequence: what a crash of the server undoes would be given again.
claimed AS (
    UPDATE @forwards f SET token = (random() * 9007199254740991)::bigint, leased_until = $3
    FROM kept k WHERE f.id = k.id AND k.events > 0 RETURNING f.id, f.token, f.attempts, f.queued_at),
-- They would be due for ever.
orphans AS (
    DELETE FROM @forwards f USING kept k WHERE f.id = k.id AND k.events = 0)
SELECT c.id, c.token, c.attempts, greatest(c.queued_at, coalesce((SELECT resumed_at FROM open), 0)),
       d.sender, d.content_type, d.received_at, d.events, d.length, k.start::integer,
       CASE WHEN d.length IS NOT NULL OR k.events = d.events THEN d.body
            ELSE substring(d.body FROM k.start + 1 FOR k.bytes::integer) END,
       e.starts, e.lengths, e.keys, e.event_ids, e.types, e.app_ids, e.titles, e.apps, e.previous
FROM claimed c JOIN kept k ON k.id = c.id JOIN @deliveries d ON d.id = k.delivery CROSS JOIN LATERAL (
    SELECT array_agg(e.start) AS starts, array_agg(e.length) AS lengths, array_agg(e.key) AS keys,
           array_agg(e.event_id) AS event_ids, array_agg(e.type) AS types, array_agg(e.app_id) AS app_ids,
           array_agg(e.title) AS titles, array_agg(e.app) AS apps, array_agg(e.previous) AS previous
    FROM (
        SELECT * FROM @events e WHERE e.id BETWEEN k.first_event AND k.last_event AND e.delivery = k.delivery
        ORDER BY e.id) e) e
ORDER BY k.kind, k.place
