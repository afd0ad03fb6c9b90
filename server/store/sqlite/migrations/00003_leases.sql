-- +goose Up

-- What running calls may use of a window is leased to replicas now, and an
-- attempt that is open is in the spool of its replica.
ALTER TABLE windows RENAME COLUMN held TO leased;
UPDATE windows SET leased = 0;

-- The newest process of each replica; older ones are fenced.
CREATE TABLE replicas (
    replica     TEXT PRIMARY KEY,
    incarnation INTEGER NOT NULL
) STRICT;

-- Slices of windows. What remains of one is granted - returned - settled. There
-- is no foreign key, since a lease may be closed before its window is known.
CREATE TABLE leases (
    replica     TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    window_id   TEXT NOT NULL,
    granted     INTEGER NOT NULL,
    returned    INTEGER NOT NULL,
    settled     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    state       TEXT NOT NULL,
    PRIMARY KEY (replica, incarnation, number)
) STRICT;
CREATE INDEX leases_window ON leases (window_id);
CREATE INDEX leases_state ON leases (state, expires);

-- What could not be kept in the ledger, for people to look at.
CREATE TABLE dead_letters (
    id         INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL,
    attempt    INTEGER NOT NULL,
    written    INTEGER NOT NULL,
    payload    BLOB NOT NULL,
    cause      TEXT NOT NULL
) STRICT;

-- What an earlier Weir was killed in the middle of.
INSERT INTO dead_letters (request_id, attempt, written, payload, cause)
    SELECT request_id, attempt, deadline, CAST(body AS BLOB), 'left open by a Weir from before the spool' FROM opens;
DROP TABLE opens;
