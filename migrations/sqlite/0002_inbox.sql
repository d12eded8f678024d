-- Which senders there are is for the program to say. This is SQLite's own way to drop a constraint without writing the
-- table anew (https://www.sqlite.org/lang_altertable.html); the ALTER TABLE below tells other connections.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, ' CHECK (sender IN (''bugfender'', ''instabug''))', '')
    WHERE type = 'table' AND name = 'deliveries';
PRAGMA writable_schema = RESET;

-- Runs are merged into longer ones: the chunks of a run are numbered from here, one after another.
ALTER TABLE runs ADD COLUMN first_chunk INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET first_chunk = id * 65536;
