-- Requests that are alike and used nothing, such as refusals, share an entry.
ALTER TABLE chukei_entries ADD COLUMN requests INTEGER NOT NULL DEFAULT 1;
