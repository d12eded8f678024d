-- What is handed over may also be a delivery that was in quarantine and is read again, or a test of a target.
-- `app_id` is 0 if it was not polled.
ALTER TABLE handed_over ADD COLUMN sender TEXT NOT NULL DEFAULT 'bugfender';
ALTER TABLE handed_over ADD COLUMN via INTEGER NOT NULL DEFAULT 1;
ALTER TABLE handed_over ADD COLUMN content_type TEXT;
ALTER TABLE handed_over ADD COLUMN quarantined INTEGER;   -- the number that it has in quarantine
ALTER TABLE handed_over ADD COLUMN target INTEGER;        -- the only one that it is forwarded to

-- A target is failing: the receiver makes no attempt until then.
ALTER TABLE targets ADD COLUMN held_until INTEGER;
