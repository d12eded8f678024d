-- The store of a team: the registry of hooks, and the inbox of events.
-- Times are microseconds since 1970 UTC if they are the clients', and timestamptz if they are the server's own.

-- A row for every hook that may exist at a server.
CREATE TABLE @hooks (
    id          bigint PRIMARY KEY,
    api_url     text COLLATE "C" NOT NULL,   -- the origin of the installation
    hook_id     bigint CHECK (hook_id > 0),  -- the server's id, once it is known
    app_id      bigint NOT NULL CHECK (app_id > 0),
    event       text COLLATE "C" NOT NULL,
    target_url  text COLLATE "C" NOT NULL,   -- whole, with any password
    status      text NOT NULL
        CHECK (status IN ('pending', 'active', 'unknown', 'removing', 'removed', 'gone')),
    label       text,
    owner       text,                        -- who is at work on it, while 'pending' or 'removing'
    owned_until timestamptz,                 -- and until when that holds, by the clock of this server
    reason      text,                        -- why it is 'unknown' or 'removing'
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL,
    CHECK (hook_id IS NOT NULL OR status IN ('pending', 'unknown'))
);
CREATE INDEX hooks_in_order ON @hooks (api_url, app_id, event, id);
-- A server that was reset gives numbers anew.
CREATE UNIQUE INDEX hooks_by_hook_id ON @hooks (api_url, hook_id)
    WHERE hook_id IS NOT NULL AND status NOT IN ('removed', 'gone');

-- Who changed which row, how and when: the newest changes, which outlive their rows.
CREATE TABLE @history (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         bigint NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    row_id     bigint NOT NULL,
    api_url    text NOT NULL,
    hook_id    bigint,
    app_id     bigint NOT NULL,
    event      text NOT NULL,
    target_url text NOT NULL,
    reason     text
);

-- What was received, with the body as it came but for what was to be redacted.
CREATE TABLE @deliveries (
    id           bigint PRIMARY KEY,
    sender       text NOT NULL,
    received_at  bigint NOT NULL,
    content_type text,
    events       integer NOT NULL,           -- how many are in the body, duplicates too
    first_event  bigint NOT NULL,            -- the first and the last that are stored
    last_event   bigint NOT NULL,
    length       integer,                    -- of the body, if it is stored as an LZ4 block, without a header
    body         bytea NOT NULL
);
-- It is compressed already where that saves space; parts of large ones are read separately.
ALTER TABLE @deliveries ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX deliveries_by_time ON @deliveries (received_at, id);

CREATE TABLE @events (
    id         bigint PRIMARY KEY,
    delivery   bigint NOT NULL,
    start      integer NOT NULL,             -- where its JSON stands in the body
    length     integer NOT NULL,
    key        bytea NOT NULL,               -- a hash of sender and id, of 16 bytes
    ordinal    integer NOT NULL,             -- among the events with this key: those of other apps, or of long after
    event_id   text NOT NULL,
    type       text,
    app_id     bigint,
    app        bigint,                       -- a hash of what tells its app from others
    title      text,
    previous   bigint,                       -- the event with this key before it
    duplicates integer NOT NULL DEFAULT 0
) WITH (fillfactor = 90);
-- One event is stored once, whichever receiver gets it.
CREATE UNIQUE INDEX events_by_key ON @events (key, ordinal);
CREATE INDEX events_of_further_apps ON @events (key, app) WHERE ordinal > 0;

CREATE TABLE @targets (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text NOT NULL UNIQUE,
    shown      text NOT NULL,
    paused_at  bigint,                       -- by an operator
    resumed_at bigint,
    held_until bigint                        -- it is failing: nothing is claimed until then, by any receiver
);

-- Some events of a delivery, those from first_event to last_event, on their way to a target.
CREATE TABLE @forwards (
    id           bigint PRIMARY KEY,
    target       bigint NOT NULL,
    delivery     bigint NOT NULL,
    first_event  bigint NOT NULL,
    last_event   bigint NOT NULL,
    state        smallint NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),  -- pending, delivered, dead
    attempts     integer NOT NULL DEFAULT 0,
    due_at       bigint NOT NULL DEFAULT 0,  -- 0 for what was not tried yet
    queued_at    bigint NOT NULL,
    settled_at   bigint,
    error        text,
    token        bigint,                     -- fences the claim
    leased_until bigint
) WITH (fillfactor = 50);  -- each is changed when it is claimed and when it is settled
CREATE INDEX forwards_by_event ON @forwards (last_event);
CREATE INDEX forwards_pending ON @forwards (target, due_at, id) WHERE state = 0;
CREATE INDEX forwards_by_age ON @forwards (target, queued_at) WHERE state = 0;
CREATE INDEX forwards_dead ON @forwards (target, last_event) WHERE state = 2;

-- The newest attempts of each forward, at most 16: the next takes the place of the oldest.
CREATE TABLE @attempts (
    forward bigint NOT NULL,
    slot    smallint NOT NULL,               -- the number modulo 16
    number  integer NOT NULL,                -- 1 for the first
    at      bigint NOT NULL,                 -- when it ended
    took    bigint NOT NULL,                 -- in microseconds
    status  integer,                         -- of HTTP
    answer  bytea,                           -- its beginning
    error   text,
    next_at bigint,                          -- not tried again before
    PRIMARY KEY (forward, slot)
);

-- What was let in but could not be read.
CREATE TABLE @quarantine (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sender       text NOT NULL,
    received_at  bigint NOT NULL,
    content_type text,
    reason       text NOT NULL,
    body         bytea NOT NULL
);
CREATE INDEX quarantine_by_time ON @quarantine (received_at, id);

CREATE SEQUENCE @row_ids;
CREATE SEQUENCE @event_ids;
CREATE SEQUENCE @delivery_ids;
CREATE SEQUENCE @forward_ids;

-- The keys in the path that Bugfender delivers to: the current one has no end.
CREATE TABLE @receiver_keys (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key    text NOT NULL,
    until  bigint
);
CREATE UNIQUE INDEX receiver_keys_current ON @receiver_keys ((true)) WHERE until IS NULL;

-- Which receivers there are: each says so from time to time, by the clock of this server.
CREATE TABLE @roles (
    name  text NOT NULL,
    owner text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    until timestamptz NOT NULL,
    PRIMARY KEY (name, owner)
);

-- Which store this one was copied from, and whether all of it is here.
CREATE TABLE @copied (
    id     integer PRIMARY KEY CHECK (id = 1),
    source text NOT NULL,
    done   boolean NOT NULL
);

CREATE TABLE @probe (
    id integer PRIMARY KEY CHECK (id = 1),
    at bigint NOT NULL
);
