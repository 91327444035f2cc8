-- Times are microseconds since 1970 in UTC, money is in millionths of the currency of the prices.

-- An entry is known by its id; the time before it in the key keeps the writing in one place of the index, and serves
-- questions about a time, and retention.
CREATE TABLE chukei_entries (
    id TEXT NOT NULL,
    time INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    caller TEXT NOT NULL,
    kind TEXT NOT NULL,
    caller_group TEXT,
    key_id TEXT,
    operation TEXT NOT NULL,
    model TEXT,
    deployment TEXT,
    stream INTEGER NOT NULL,
    status INTEGER,
    end_reason TEXT NOT NULL,
    code TEXT,
    finish_reason TEXT,
    input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    wasted_tokens INTEGER NOT NULL,
    cost INTEGER,
    first_token_ms REAL,
    duration_ms REAL NOT NULL,
    retries INTEGER NOT NULL,
    hedges INTEGER NOT NULL,
    upstream_request_id TEXT,
    region TEXT,
    PRIMARY KEY (time, id)
) STRICT;

-- For a caller's own questions, and for deleting what is known of one.
CREATE INDEX chukei_entries_by_caller ON chukei_entries (caller, time);

CREATE TABLE chukei_keys (
    id TEXT NOT NULL PRIMARY KEY,
    caller TEXT NOT NULL,
    caller_group TEXT,
    digest BLOB NOT NULL,
    pepper INTEGER NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER,
    note TEXT
) STRICT;
