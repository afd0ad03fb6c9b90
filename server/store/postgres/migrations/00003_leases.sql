-- +goose Up

-- What running calls may use of a window is leased to replicas now, and an
-- attempt that is open is in the spool of its replica.
ALTER TABLE windows RENAME COLUMN held TO leased;
UPDATE windows SET leased = 0;

-- The newest process of each replica; older ones are fenced.
CREATE TABLE replicas (
    replica     TEXT COLLATE "C" PRIMARY KEY,
    incarnation BIGINT NOT NULL
);

-- Slices of windows. What remains of one is granted - returned - settled. There
-- is no foreign key, since a lease may be closed before its window is known.
CREATE TABLE leases (
    replica     TEXT COLLATE "C" NOT NULL,
    incarnation BIGINT NOT NULL,
    number      BIGINT NOT NULL,
    window_id   TEXT COLLATE "C" NOT NULL,
    granted     BIGINT NOT NULL,
    returned    BIGINT NOT NULL,
    settled     BIGINT NOT NULL,
    expires     BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (replica, incarnation, number)
);
CREATE INDEX leases_window ON leases (window_id);
CREATE INDEX leases_state ON leases (state, expires);

-- What could not be kept in the ledger, for people to look at.
CREATE TABLE dead_letters (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id TEXT COLLATE "C" NOT NULL,
    attempt    BIGINT NOT NULL,
    written    BIGINT NOT NULL,
    payload    BYTEA NOT NULL,
    cause      TEXT COLLATE "C" NOT NULL
);

-- What an earlier Weir was killed in the middle of.
INSERT INTO dead_letters (request_id, attempt, written, payload, cause)
    SELECT request_id, attempt, deadline, convert_to(body, 'UTF8'), 'left open by a Weir from before the spool' FROM opens;
DROP TABLE opens;
