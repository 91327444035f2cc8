-- Limits and groups that administrators set, as JSON by subject, and every change of them.
-- Times are microseconds since 1970 in UTC.
CREATE TABLE chukei_rules (
    subject TEXT NOT NULL PRIMARY KEY,
    rules TEXT NOT NULL
) STRICT;

CREATE TABLE chukei_changes (
    number INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;
