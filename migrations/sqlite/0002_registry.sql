-- The history: a row for every change of a row of `hooks`, which it outlives. The newest are kept.
-- Which actions there are is for the program to say. There are no indexes, for the sake of those who write: of the few
-- rows that are kept, all can be read.
CREATE TABLE history (
    number     INTEGER PRIMARY KEY,           -- one after another, without gaps
    at         INTEGER NOT NULL,              -- seconds since 1970 UTC
    actor      TEXT    NOT NULL,              -- user@host, or the address of a CI job
    action     TEXT    NOT NULL,
    row_id     INTEGER NOT NULL,              -- hooks.id; that row may be deleted
    api_url    TEXT    NOT NULL,
    hook_id    INTEGER,                       -- the hook that the row held then
    app_id     INTEGER NOT NULL,
    event      TEXT    NOT NULL,
    target_url TEXT    NOT NULL,              -- whole, with any password
    reason     TEXT
) STRICT;
