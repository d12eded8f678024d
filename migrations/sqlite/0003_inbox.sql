-- What could not be read is purged by its age, as deliveries are.
CREATE INDEX quarantine_by_time ON quarantine (received_at);

-- What tells the app of an event from others: a hash of its id and key. None in events of the version before.
ALTER TABLE events ADD COLUMN app INTEGER;
-- The event before this one that has its key, and is another event nonetheless: of another app, or of long before.
ALTER TABLE events ADD COLUMN previous INTEGER;
