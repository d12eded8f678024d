-- How a delivery came: 0 by webhook, 1 by polling.
ALTER TABLE deliveries ADD COLUMN via INTEGER NOT NULL DEFAULT 0;
-- When a webhook brought an event too that polling had brought before.
ALTER TABLE events ADD COLUMN came_at INTEGER;
CREATE INDEX events_that_came_later ON events (app_id, type, came_at) WHERE came_at IS NOT NULL;

-- Which events go to a target of the last receiver; no `together` in those of earlier ones.
ALTER TABLE targets ADD COLUMN types TEXT;        -- separated by commas; none are all
ALTER TABLE targets ADD COLUMN together INTEGER;

-- When webhooks last brought an event of an app and a type, as far as events were looked at: those behind are counted by
-- whoever asks. It outlives the events.
CREATE TABLE arrivals (
    id      INTEGER PRIMARY KEY,
    app_id  INTEGER NOT NULL,
    type    TEXT    NOT NULL,                 -- in lower case
    last_at INTEGER NOT NULL,
    UNIQUE (app_id, type)
) STRICT;
CREATE TABLE arrivals_seen (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    last_event INTEGER NOT NULL
) STRICT;
-- What is not on record is put there when its event is removed.
CREATE TRIGGER events_removed AFTER DELETE ON events
WHEN old.came_at IS NOT NULL OR old.id > coalesce((SELECT last_event FROM arrivals_seen WHERE id = 1), 0) BEGIN
    INSERT INTO arrivals (app_id, type, last_at)
    SELECT old.app_id, lower(old.type), CASE d.via WHEN 0 THEN d.received_at ELSE old.came_at END FROM deliveries d
    WHERE d.id = old.delivery AND old.app_id IS NOT NULL AND old.type IS NOT NULL
        AND (d.via = 0 OR old.came_at IS NOT NULL)
    ON CONFLICT (app_id, type) DO UPDATE SET last_at = max(last_at, excluded.last_at);
END;

-- How far the lists of an app were read through the API.
CREATE TABLE polls (
    id           INTEGER PRIMARY KEY,
    api_url      TEXT    NOT NULL,            -- the origin of the installation
    app_id       INTEGER NOT NULL,
    list         TEXT    NOT NULL,
    polled_until INTEGER NOT NULL,
    UNIQUE (api_url, app_id, list)
) STRICT;
-- What polling found and no webhook had brought.
CREATE TABLE missed (
    id       INTEGER PRIMARY KEY,
    api_url  TEXT    NOT NULL,
    app_id   INTEGER NOT NULL,
    type     TEXT    NOT NULL,                -- in lower case
    events   INTEGER NOT NULL,                -- how many were stored since a webhook brought one
    last_at  INTEGER NOT NULL,                -- when the newest was made
    found_at INTEGER NOT NULL,
    UNIQUE (api_url, app_id, type)
) STRICT;

-- Polled events of another process, for the one that receives to store: only that one knows all keys.
CREATE TABLE handed_over (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id      INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    forward     INTEGER NOT NULL,
    body        BLOB    NOT NULL,             -- empty once they are stored
    stored      INTEGER                       -- how many were new, once they are stored
) STRICT;
