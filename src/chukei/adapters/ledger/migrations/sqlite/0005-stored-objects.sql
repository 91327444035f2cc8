-- Objects that resources keep under an id: where each is, and to whom it belongs. Ids and owners are digests.
-- Times are microseconds since 1970 in UTC.
CREATE TABLE chukei_objects (
    id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    identity TEXT NOT NULL,
    owner TEXT NOT NULL,
    model TEXT,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX chukei_objects_by_expiry ON chukei_objects (expires);
CREATE INDEX chukei_objects_by_owner ON chukei_objects (owner);
