-- Money is in millionths of the currency of the prices.

-- An entry is known by its id; the time before it in the key keeps the writing in one place of the index, and serves
-- questions about a time, and retention.
CREATE TABLE chukei_entries (
    id TEXT NOT NULL,
    time TIMESTAMPTZ NOT NULL,
    request_id TEXT NOT NULL,
    caller TEXT NOT NULL,
    kind TEXT NOT NULL,
    caller_group TEXT,
    key_id TEXT,
    operation TEXT NOT NULL,
    model TEXT,
    deployment TEXT,
    stream BOOLEAN NOT NULL,
    status BIGINT,
    end_reason TEXT NOT NULL,
    code TEXT,
    finish_reason TEXT,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    estimated BOOLEAN NOT NULL,
    wasted_tokens BIGINT NOT NULL,
    cost BIGINT,
    first_token_ms DOUBLE PRECISION,
    duration_ms DOUBLE PRECISION NOT NULL,
    retries BIGINT NOT NULL,
    hedges BIGINT NOT NULL,
    upstream_request_id TEXT,
    region TEXT,
    PRIMARY KEY (time, id)
);

-- For a caller's own questions, and for deleting what is known of one.
CREATE INDEX chukei_entries_by_caller ON chukei_entries (caller, time);

CREATE TABLE chukei_keys (
    id TEXT NOT NULL PRIMARY KEY,
    caller TEXT NOT NULL,
    caller_group TEXT,
    digest BYTEA NOT NULL,
    pepper BIGINT NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    expires TIMESTAMPTZ,
    revoked TIMESTAMPTZ,
    note TEXT
);
