-- A paused target is left alone until it is resumed; what was pending then has its full time from there on.
ALTER TABLE targets ADD COLUMN paused_at INTEGER;
ALTER TABLE targets ADD COLUMN resumed_at INTEGER;

-- What waits for too long is looked for target by target: a paused one is passed over.
DROP INDEX forwards_by_age;
CREATE INDEX forwards_by_age ON forwards (target, queued_at) WHERE state = 0;

-- The newest attempts of each forward, at most 16: the next takes the place of the oldest.
CREATE TABLE attempts (
    id      INTEGER PRIMARY KEY,              -- the forward's id * 16 + number % 16
    number  INTEGER NOT NULL,                 -- 1 for the first
    at      INTEGER NOT NULL,                 -- when it ended
    took    INTEGER NOT NULL,                 -- in microseconds
    status  INTEGER,                          -- of HTTP
    answer  BLOB,                             -- its beginning
    error   TEXT,
    next_at INTEGER                           -- not tried again before
) STRICT;

CREATE TRIGGER forwards_removed AFTER DELETE ON forwards BEGIN
    DELETE FROM attempts WHERE id BETWEEN old.id * 16 AND old.id * 16 + 15;
END;
