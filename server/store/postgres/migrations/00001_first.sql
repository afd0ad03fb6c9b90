-- +goose Up

-- One integer that grows with each change of a document or a key.
CREATE TABLE revision (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    value BIGINT NOT NULL
);
INSERT INTO revision (id, value) VALUES (1, 0);

CREATE TABLE documents (
    kind     TEXT COLLATE "C" NOT NULL,
    tenant   TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    body     TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (kind, tenant, name)
);

CREATE TABLE keys (
    tenant  TEXT COLLATE "C" NOT NULL,
    project TEXT COLLATE "C" NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    role    TEXT COLLATE "C" NOT NULL,
    hash    BYTEA NOT NULL UNIQUE,
    created BIGINT NOT NULL,
    expires BIGINT,
    revoked BIGINT,
    PRIMARY KEY (tenant, project, name)
);

-- Attempts without a line yet. Body is JSON: the attempt, its claims, its bound.
CREATE TABLE opens (
    request_id TEXT COLLATE "C" NOT NULL,
    attempt    BIGINT NOT NULL,
    deadline   BIGINT NOT NULL,
    body       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (request_id, attempt)
);
CREATE INDEX opens_deadline ON opens (deadline);

-- The ledger. Rows never change. Times are microseconds of UTC, money is
-- nanos, and a meter or a cost that nobody knows is NULL.
CREATE TABLE lines (
    request_id        TEXT COLLATE "C" NOT NULL,
    attempt           BIGINT NOT NULL,
    line              BIGINT NOT NULL,
    client_request_id TEXT COLLATE "C" NOT NULL,
    parent_request_id TEXT COLLATE "C" NOT NULL,
    purpose           TEXT COLLATE "C" NOT NULL,
    tenant            TEXT COLLATE "C" NOT NULL,
    project           TEXT COLLATE "C" NOT NULL,
    key_name          TEXT COLLATE "C" NOT NULL,
    end_user          TEXT COLLATE "C" NOT NULL,
    session           TEXT COLLATE "C" NOT NULL,
    labels            JSONB NOT NULL,
    model             TEXT COLLATE "C" NOT NULL,
    backend           TEXT COLLATE "C" NOT NULL,
    backend_model     TEXT COLLATE "C" NOT NULL,
    started           BIGINT NOT NULL,
    deadline          BIGINT NOT NULL,
    ended             BIGINT NOT NULL,
    outcome           TEXT COLLATE "C" NOT NULL,
    quantity_source   TEXT COLLATE "C" NOT NULL,
    input             BIGINT,
    cache_read        BIGINT,
    cache_write_5m    BIGINT,
    cache_write_1h    BIGINT,
    output            BIGINT,
    reasoning         BIGINT,
    requests          BIGINT,
    own_usage         TEXT COLLATE "C" NOT NULL,
    currency          TEXT COLLATE "C",
    provider_nanos    BIGINT,
    charge_nanos      BIGINT,
    items             TEXT COLLATE "C",
    price_version     TEXT COLLATE "C",
    PRIMARY KEY (request_id, attempt, line)
);
CREATE INDEX lines_tenant_started ON lines (tenant, started);

-- Budget windows. Spent is kept up with the allocations; no constraint stands
-- on it, since a settle is never refused.
CREATE TABLE windows (
    id           TEXT COLLATE "C" PRIMARY KEY,
    budget       TEXT COLLATE "C" NOT NULL,
    tenant       TEXT COLLATE "C" NOT NULL,
    scope        TEXT COLLATE "C" NOT NULL,
    unit         TEXT COLLATE "C" NOT NULL,
    starts       BIGINT,
    ends         BIGINT,
    limit_amount BIGINT NOT NULL,
    spent        BIGINT NOT NULL DEFAULT 0,
    held         BIGINT NOT NULL DEFAULT 0,
    overrun      BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX windows_tenant ON windows (tenant, starts);

-- Which windows a line fed, and by how much.
CREATE TABLE allocations (
    request_id TEXT COLLATE "C" NOT NULL,
    attempt    BIGINT NOT NULL,
    line       BIGINT NOT NULL,
    window_id  TEXT COLLATE "C" NOT NULL REFERENCES windows (id),
    unit       TEXT COLLATE "C" NOT NULL,
    amount     BIGINT NOT NULL,
    PRIMARY KEY (request_id, attempt, line, window_id),
    FOREIGN KEY (request_id, attempt, line) REFERENCES lines (request_id, attempt, line)
);
CREATE INDEX allocations_window ON allocations (window_id);
