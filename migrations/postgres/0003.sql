-- How a delivery came: 0 by webhook, 1 by polling.
ALTER TABLE @deliveries ADD COLUMN via smallint NOT NULL DEFAULT 0;
-- When a webhook brought an event too that polling had brought before.
ALTER TABLE @events ADD COLUMN came_at bigint;
CREATE INDEX events_that_came_later ON @events (app_id, type, came_at) WHERE came_at IS NOT NULL;

-- Which events go to a target of the last receiver; no `together` in those of earlier ones.
ALTER TABLE @targets ADD COLUMN types text, ADD COLUMN together integer;  -- types are separated by commas; none are all

-- When webhooks last brought an event of an app and a type, as far as events were looked at: those behind are counted by
-- whoever asks. It outlives the events.
CREATE TABLE @arrivals (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id  bigint NOT NULL,
    type    text COLLATE "C" NOT NULL,       -- in lower case
    last_at bigint NOT NULL,
    UNIQUE (app_id, type)
);
CREATE TABLE @arrivals_seen (
    id         bigint PRIMARY KEY CHECK (id = 1),
    last_event bigint NOT NULL
);

-- How far the lists of an app were read through the API.
CREATE TABLE @polls (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    api_url      text COLLATE "C" NOT NULL,  -- the origin of the installation
    app_id       bigint NOT NULL,
    list         text COLLATE "C" NOT NULL,
    polled_until bigint NOT NULL,
    UNIQUE (api_url, app_id, list)
);
-- What polling found and no webhook had brought.
CREATE TABLE @missed (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    api_url  text COLLATE "C" NOT NULL,
    app_id   bigint NOT NULL,
    type     text COLLATE "C" NOT NULL,      -- in lower case
    events   bigint NOT NULL,                -- how many were stored since a webhook brought one
    last_at  bigint NOT NULL,                -- when the newest was made
    found_at bigint NOT NULL,
    UNIQUE (api_url, app_id, type)
);
