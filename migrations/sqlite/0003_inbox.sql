-- What could not be read is purged by its age, as deliveries are.
CREATE INDEX quarantine_by_time ON quarantine (received_at);
