-- Limits and groups that administrators set, as JSON by subject, and every change of them.
CREATE TABLE chukei_rules (
    subject TEXT NOT NULL PRIMARY KEY,
    rules TEXT NOT NULL
);

CREATE TABLE chukei_changes (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time TIMESTAMPTZ NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
);
