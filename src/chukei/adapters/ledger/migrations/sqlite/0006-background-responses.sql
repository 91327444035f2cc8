-- Responses that are made in the background, as JSON, until their usage is known and billed.
-- After the time in "due" any relay may ask how one is doing.
CREATE TABLE chukei_jobs (
    id TEXT NOT NULL PRIMARY KEY,
    due INTEGER NOT NULL,
    job TEXT NOT NULL
) STRICT;

CREATE INDEX chukei_jobs_by_due ON chukei_jobs (due);
