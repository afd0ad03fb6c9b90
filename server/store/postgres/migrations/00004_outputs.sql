-- +goose Up

-- What calls said, one row a call, redacted. Rows never change and go when they
-- expire. Body is JSON: all that no query asks for. Verdicts counts findings.
CREATE TABLE outputs (
    request_id    TEXT COLLATE "C" PRIMARY KEY,
    tenant        TEXT COLLATE "C" NOT NULL,
    project       TEXT COLLATE "C" NOT NULL,
    model         TEXT COLLATE "C" NOT NULL,
    finish_reason TEXT COLLATE "C" NOT NULL,
    verdicts      BIGINT NOT NULL,
    started       BIGINT NOT NULL,
    expires       BIGINT NOT NULL,
    body          TEXT COLLATE "C" NOT NULL
);
CREATE INDEX outputs_tenant_started ON outputs (tenant, started, request_id);
CREATE INDEX outputs_expires ON outputs (expires);

-- What people think of outputs. Rows never change and go with their output.
CREATE TABLE ratings (
    request_id TEXT COLLATE "C" NOT NULL REFERENCES outputs (request_id) ON DELETE CASCADE,
    id         TEXT COLLATE "C" NOT NULL,
    made       BIGINT NOT NULL,
    body       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (request_id, id)
);
