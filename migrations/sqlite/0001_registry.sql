-- The registry of hooks: a row for every hook that may exist at a server.
-- Clustered in the order in which hooks are listed, so that a list is read front to back with next to no memory.
CREATE TABLE hooks (
    id         INTEGER NOT NULL CHECK (id > 0),
    api_url    TEXT    NOT NULL,              -- the origin of the installation
    hook_id    INTEGER CHECK (hook_id > 0),   -- the server's id, once it is known
    app_id     INTEGER NOT NULL CHECK (app_id > 0),
    event      TEXT    NOT NULL,
    target_url TEXT    NOT NULL,              -- whole, with any password
    status     TEXT    NOT NULL
        CHECK (status IN ('pending', 'active', 'unknown', 'removing', 'removed', 'gone')),
    label      TEXT,
    owner      TEXT,                          -- the process at work on it, while 'pending' or 'removing'
    reason     TEXT,                          -- why it is 'unknown' or 'removing'
    created_at INTEGER NOT NULL,              -- seconds since 1970 UTC
    updated_at INTEGER NOT NULL,
    CHECK (hook_id IS NOT NULL OR status IN ('pending', 'unknown')),
    PRIMARY KEY (api_url, app_id, event, target_url, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX hooks_by_id ON hooks (id);
CREATE INDEX hooks_by_owner ON hooks (owner) WHERE owner IS NOT NULL;
-- A server that was reset gives numbers anew.
CREATE UNIQUE INDEX hooks_by_hook_id ON hooks (api_url, hook_id)
    WHERE hook_id IS NOT NULL AND status NOT IN ('removed', 'gone');
