-- +goose Up

-- One integer that grows with each change of a document or a key.
CREATE TABLE revision (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO revision (id, value) VALUES (1, 0);

CREATE TABLE documents (
    kind     TEXT NOT NULL,
    tenant   TEXT NOT NULL,
    name     TEXT NOT NULL,
    body     TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (kind, tenant, name)
) STRICT;

CREATE TABLE keys (
    tenant  TEXT NOT NULL,
    project TEXT NOT NULL,
    name    TEXT NOT NULL,
    role    TEXT NOT NULL,
    hash    BLOB NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER,
    PRIMARY KEY (tenant, project, name)
) STRICT;

-- Attempts without a line yet. Body is JSON: the attempt, its claims, its bound.
CREATE TABLE opens (
    request_id TEXT NOT NULL,
    attempt    INTEGER NOT NULL,
    deadline   INTEGER NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (request_id, attempt)
) STRICT;
CREATE INDEX opens_deadline ON opens (deadline);

-- The ledger. Rows never change. Times are microseconds of UTC, money is
-- nanos, and a meter or a cost that nobody knows is NULL.
CREATE TABLE lines (
    request_id        TEXT NOT NULL,
    attempt           INTEGER NOT NULL,
    line              INTEGER NOT NULL,
    client_request_id TEXT NOT NULL,
    parent_request_id TEXT NOT NULL,
    purpose           TEXT NOT NULL,
    tenant            TEXT NOT NULL,
    project           TEXT NOT NULL,
    key_name          TEXT NOT NULL,
    end_user          TEXT NOT NULL,
    session           TEXT NOT NULL,
    labels            TEXT NOT NULL,
    model             TEXT NOT NULL,
    backend           TEXT NOT NULL,
    backend_model     TEXT NOT NULL,
    started           INTEGER NOT NULL,
    deadline          INTEGER NOT NULL,
    ended             INTEGER NOT NULL,
    outcome           TEXT NOT NULL,
    quantity_source   TEXT NOT NULL,
    input             INTEGER,
    cache_read        INTEGER,
    cache_write_5m    INTEGER,
    cache_write_1h    INTEGER,
    output            INTEGER,
    reasoning         INTEGER,
    requests          INTEGER,
    own_usage         TEXT NOT NULL,
    currency          TEXT,
    provider_nanos    INTEGER,
    charge_nanos      INTEGER,
    items             TEXT,
    price_version     TEXT,
    PRIMARY KEY (request_id, attempt, line)
) STRICT;
CREATE INDEX lines_tenant_started ON lines (tenant, started);

-- Budget windows. Spent is kept up with the allocations; no constraint stands
-- on it, since a settle is never refused.
CREATE TABLE windows (
    id           TEXT PRIMARY KEY,
    budget       TEXT NOT NULL,
    tenant       TEXT NOT NULL,
    scope        TEXT NOT NULL,
    unit         TEXT NOT NULL,
    starts       INTEGER,
    ends         INTEGER,
    limit_amount INTEGER NOT NULL,
    spent        INTEGER NOT NULL DEFAULT 0,
    held         INTEGER NOT NULL DEFAULT 0,
    overrun      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX windows_tenant ON windows (tenant, starts);

-- Which windows a line fed, and by how much.
CREATE TABLE allocations (
    request_id TEXT NOT NULL,
    attempt    INTEGER NOT NULL,
    line       INTEGER NOT NULL,
    window_id  TEXT NOT NULL REFERENCES windows (id),
    unit       TEXT NOT NULL,
    amount     INTEGER NOT NULL,
    PRIMARY KEY (request_id, attempt, line, window_id),
    FOREIGN KEY (request_id, attempt, line) REFERENCES lines (request_id, attempt, line)
) STRICT;
CREATE INDEX allocations_window ON allocations (window_id);
