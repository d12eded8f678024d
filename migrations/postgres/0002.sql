-- Hooks as code: which manifest owns a hook, and the hook that it takes the place of, which is removed once this one exists.
ALTER TABLE @hooks ADD COLUMN managed_by text, ADD COLUMN replaces bigint;
-- Who applies which manifest to which installation.
CREATE TABLE @manifest_locks (
    api_url     text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    owner       text NOT NULL,               -- the process
    actor       text NOT NULL,               -- user@host, or the address of a CI job
    since       bigint NOT NULL,
    owned_until timestamptz NOT NULL,        -- renewed while it lives
    PRIMARY KEY (api_url, name)
);
