-- +goose Up

-- What calls said, one row a call, redacted. Rows never change and go when they
-- expire. Body is JSON: all that no query asks for. Verdicts counts findings.
CREATE TABLE outputs (
    request_id    TEXT PRIMARY KEY,
    tenant        TEXT NOT NULL,
    project       TEXT NOT NULL,
    model         TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    verdicts      INTEGER NOT NULL,
    started       INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    body          TEXT NOT NULL
) STRICT;
CREATE INDEX outputs_tenant_started ON outputs (tenant, started, request_id);
CREATE INDEX outputs_expires ON outputs (expires);

-- What people think of outputs. Rows never change and go with their output.
CREATE TABLE ratings (
    request_id TEXT NOT NULL REFERENCES outputs (request_id) ON DELETE CASCADE,
    id         TEXT NOT NULL,
    made       INTEGER NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (request_id, id)
) STRICT;
