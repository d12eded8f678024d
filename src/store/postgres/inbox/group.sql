WITH
-- What came: deliveries, their events, and which routes accept which events.
d AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::integer[], $5::integer[], $6::bytea[], $30::smallint[])
        WITH ORDINALITY AS d (sender, at, content_type, events, length, body, via, place)),
m AS (
    SELECT * FROM unnest($18::integer[], $19::integer[], $20::bigint[], $21::boolean[]) AS m (event, route, target, together)),
-- What each event is: a duplicate of one with its key, or a new one behind it. Whether it is new is a column, which the
-- planner takes for half of them: of a condition on another column it would expect next to none, and plan for as many.
found AS MATERIALIZED (
    SELECT e.*, e.duplicate_of IS NULL AS is_new FROM (
        SELECT e.*, newest.id AS before, newest.ordinal, CASE
                WHEN newest.id IS NULL THEN NULL
                -- Of a sender without ids: the same for a time.
                WHEN e.without_id THEN CASE WHEN abs(e.at - newest.at) <= $22 THEN newest.id END
                -- Of one app, unless what is known of both differs.
                WHEN CASE WHEN e.app IS NOT NULL AND newest.app IS NOT NULL THEN e.app = newest.app
                          ELSE e.app_id IS NULL OR newest.app_id IS NULL OR e.app_id = newest.app_id END THEN newest.id
                ELSE coalesce(
                    (SELECT o.id FROM @events o WHERE o.key = e.key AND o.app = e.app AND o.ordinal > 0 LIMIT 1),
                    (SELECT o.id FROM @events o WHERE o.key = e.key AND o.ordinal = 0
                         AND (o.app = e.app OR o.app IS NULL AND o.app_id = e.app_id)),
                    (SELECT o.id FROM @events o WHERE o.key = e.key AND o.app IS NULL AND o.ordinal > 0
                         AND o.app_id = e.app_id LIMIT 1),
                    -- Known by its number alone.
                    CASE WHEN e.app IS NULL THEN
                        (SELECT o.id FROM @events o WHERE o.key = e.key AND o.app_id = e.app_id LIMIT 1) END)
            END AS duplicate_of
        FROM unnest($7::integer[], $8::integer[], $9::integer[], $10::bytea[], $11::text[], $12::text[], $13::bigint[],
                $14::text[], $15::bigint[], $16::boolean[], $17::integer[], $24::bigint[], $23::integer[], $31::bigint[], $32::bigint[])
            WITH ORDINALITY AS e (delivery, start, length, key, event_id, type, app_id, title, app, without_id, again, at,
                counted, came_at, queued_at, place)
        LEFT JOIN LATERAL (
            SELECT k.id, k.app_id, k.app, k.ordinal, kd.received_at AS at
            FROM @events k JOIN @deliveries kd ON kd.id = k.delivery WHERE k.key = e.key ORDER BY k.ordinal DESC LIMIT 1
        ) newest ON true) e),
-- The new ones, numbered in the order in which they came.
numbered AS MATERIALIZED (
    SELECT n.*, nextval('@event_ids') AS id FROM (
        SELECT f.*, coalesce(f.ordinal + 1, 0) + row_number() OVER (PARTITION BY f.key ORDER BY f.place) - 1 AS further
        FROM found f WHERE f.is_new ORDER BY f.place OFFSET 0) n),
fresh AS MATERIALIZED (
    SELECT n.*, coalesce(lag(n.id) OVER (PARTITION BY n.key ORDER BY n.place), n.before) AS previous FROM numbered n),
homes AS MATERIALIZED (
    SELECT d.*, nextval('@delivery_ids') AS id FROM d),
-- In the order of their keys: two receivers with the same events wait for each other, and never in a circle.
inserted AS (
    INSERT INTO @events (id, delivery, start, length, key, ordinal, event_id, type, app_id, app, title, previous,
        duplicates, came_at)
    SELECT f.id, h.id, f.start, f.length, f.key, f.further, f.event_id, f.type, f.app_id, f.app, f.title, f.previous,
        f.again, CASE WHEN h.via > 0 THEN f.came_at END
    FROM fresh f JOIN homes h ON h.place = f.delivery ORDER BY f.key, f.further
    ON CONFLICT (key, ordinal) DO NOTHING RETURNING id, delivery),
stored AS MATERIALIZED (
    SELECT f.place AS event, f.queued_at AS at, i.id, i.delivery,
           row_number() OVER (PARTITION BY i.delivery ORDER BY f.place) AS place
    FROM inserted i JOIN fresh f ON f.id = i.id),
kept AS (
    INSERT INTO @deliveries (id, sender, received_at, content_type, events, first_event, last_event, length, body, via)
    SELECT h.id, h.sender, h.at, h.content_type, h.events, s.first, s.last, h.length, h.body, h.via
    FROM homes h JOIN (SELECT delivery, min(id) AS first, max(id) AS last FROM stored GROUP BY delivery) s
        ON s.delivery = h.id),
-- For each route the events that follow each other, together or one by one.
runs AS (
    SELECT r.target, r.delivery, min(r.id) AS first, max(r.id) AS last, min(r.at) AS at FROM (
        SELECT m.*, s.delivery, s.id, s.at, s.place,
               s.place - row_number() OVER (PARTITION BY m.route, s.delivery ORDER BY s.place) AS run
        FROM m JOIN stored s ON s.event = m.event) r
    GROUP BY r.route, r.target, r.delivery, CASE WHEN r.together THEN r.run ELSE r.place END
    ORDER BY min(r.id), r.route),
queued AS (
    INSERT INTO @forwards (id, target, delivery, first_event, last_event, queued_at)
    SELECT nextval('@forward_ids'), target, delivery, first, last, at FROM (SELECT * FROM runs OFFSET 0) r),
-- Only after all was inserted, and in order: see above.
repeated AS MATERIALIZED (
    SELECT k.id FROM @events k WHERE k.id IN (SELECT duplicate_of FROM found WHERE NOT is_new AND came_at IS NOT NULL)
        AND (SELECT count(*) FROM inserted) >= 0
    ORDER BY k.id FOR NO KEY UPDATE),
counted AS (
    UPDATE @events k SET duplicates = k.duplicates + n.times,
        -- What a webhook brings after polling tells that its hook works.
        came_at = CASE WHEN (SELECT v.via FROM @deliveries v WHERE v.id = k.delivery) > 0
            THEN greatest(k.came_at, n.came_at) END FROM (
        SELECT f.duplicate_of AS id, sum(f.counted)::integer AS times, max(f.came_at) AS came_at FROM found f
        WHERE f.duplicate_of IN (SELECT id FROM repeated) GROUP BY f.duplicate_of) n
    WHERE k.id = n.id),
unreadable AS (
    INSERT INTO @quarantine (sender, received_at, content_type, reason, body)
    SELECT * FROM unnest($25::text[], $26::bigint[], $27::text[], $28::text[], $29::bytea[]))
SELECT f.place, f.duplicate_of, s.id FROM found f LEFT JOIN stored s ON s.event = f.place ORDER BY f.place
