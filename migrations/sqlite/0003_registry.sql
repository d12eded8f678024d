-- Hooks as code: which manifest owns a hook, and the hook that it takes the place of, which is removed once this one exists.
ALTER TABLE hooks ADD COLUMN managed_by TEXT;
ALTER TABLE hooks ADD COLUMN replaces INTEGER;
-- Who applies which manifest to which installation. A lock of a process that has ended is free.
CREATE TABLE manifest_locks (
    api_url TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    owner   TEXT    NOT NULL,                 -- the process
    actor   TEXT    NOT NULL,                 -- user@host, or the address of a CI job
    since   INTEGER NOT NULL,                 -- seconds since 1970 UTC
    PRIMARY KEY (api_url, name)
) STRICT, WITHOUT ROWID;
