-- Objects that resources keep under an id: where each is, and to whom it belongs. Ids and owners are digests.
CREATE TABLE chukei_objects (
    id BYTEA NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    identity TEXT NOT NULL,
    owner TEXT NOT NULL,
    model TEXT,
    expires TIMESTAMPTZ NOT NULL
);

CREATE INDEX chukei_objects_by_expiry ON chukei_objects (expires);
CREATE INDEX chukei_objects_by_owner ON chukei_objects (owner);
