-- The inbox: what was received, in the order of arrival, and how far it has been handed on.
-- Every table and index here grows at its end: a commit then writes few pages, whatever the ids of the events are.
CREATE TABLE deliveries (
    id           INTEGER PRIMARY KEY,
    sender       TEXT    NOT NULL CHECK (sender IN ('bugfender', 'instabug')),
    received_at  INTEGER NOT NULL,            -- microseconds since 1970 UTC, as all times here
    content_type TEXT,
    events       INTEGER NOT NULL,            -- how many are in the body, duplicates too
    first_event  INTEGER NOT NULL,            -- those that are stored, in a row
    last_event   INTEGER NOT NULL,
    length       INTEGER,                     -- of the body, if it is stored as an LZ4 block, without a header
    body         BLOB    NOT NULL             -- as it came, but for what was to be redacted
) STRICT;

CREATE INDEX deliveries_by_time ON deliveries (received_at);

CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    delivery   INTEGER NOT NULL,
    start      INTEGER NOT NULL,              -- where its JSON stands in the body
    length     INTEGER NOT NULL,
    key        BLOB    NOT NULL,              -- a hash of sender and id, of 16 bytes
    event_id   TEXT    NOT NULL,
    type       TEXT,
    app_id     INTEGER,
    title      TEXT,
    duplicates INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Which keys are there: those of the newest events are in memory, those of older ones in sorted runs. A run is written
-- once, in one piece. An index on the keys themselves would change a page somewhere in it for every event.
CREATE TABLE runs (
    id         INTEGER PRIMARY KEY,
    last_event INTEGER NOT NULL,
    fences     BLOB    NOT NULL,              -- the first key of each chunk
    filter     BLOB    NOT NULL               -- a Bloom filter over the keys
) STRICT;

CREATE TABLE run_chunks (
    id      INTEGER PRIMARY KEY,              -- the run's id * 65536 + the chunk's place in the run
    entries BLOB    NOT NULL                  -- keys in order, each with the id of its event
) STRICT;

-- The newest event when something was purged: its place is not given again, so that who follows events misses none.
CREATE TABLE purged (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    last_event INTEGER NOT NULL
) STRICT;

CREATE TABLE targets (
    id    INTEGER PRIMARY KEY,
    key   TEXT    NOT NULL UNIQUE,
    shown TEXT    NOT NULL
) STRICT;

-- Some events of a delivery, those from first_event to last_event, on their way to a target.
CREATE TABLE forwards (
    id          INTEGER PRIMARY KEY,
    target      INTEGER NOT NULL,
    delivery    INTEGER NOT NULL,
    first_event INTEGER NOT NULL,
    last_event  INTEGER NOT NULL,
    state       INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),  -- pending, delivered, dead
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL DEFAULT 0,   -- 0 for what was not tried yet
    queued_at   INTEGER NOT NULL,
    settled_at  INTEGER,
    error       TEXT
) STRICT;

CREATE INDEX forwards_by_delivery ON forwards (delivery);
CREATE INDEX forwards_pending ON forwards (target, due_at, id) WHERE state = 0;
CREATE INDEX forwards_by_age ON forwards (queued_at) WHERE state = 0;
CREATE INDEX forwards_dead ON forwards (delivery) WHERE state = 2;

-- What was let in but could not be read.
CREATE TABLE quarantine (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    sender       TEXT    NOT NULL,
    received_at  INTEGER NOT NULL,
    content_type TEXT,
    reason       TEXT    NOT NULL,
    body         BLOB    NOT NULL
) STRICT;

CREATE TABLE probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;
