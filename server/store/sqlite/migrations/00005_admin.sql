-- +goose Up

-- While a key is rotated its secret of before is good as well, until then.
ALTER TABLE keys ADD COLUMN old_hash BLOB;
ALTER TABLE keys ADD COLUMN old_until INTEGER;
CREATE UNIQUE INDEX keys_old_hash ON keys (old_hash);

-- Who changed what: one row for each document or key, written with the change.
-- Rows never change. Number counts the rows of a revision.
CREATE TABLE audit (
    revision       INTEGER NOT NULL,
    number         INTEGER NOT NULL,
    made           INTEGER NOT NULL,
    author_tenant  TEXT NOT NULL,
    author_project TEXT NOT NULL,
    author_key     TEXT NOT NULL,
    author_role    TEXT NOT NULL,
    request_id     TEXT NOT NULL,
    action         TEXT NOT NULL,
    kind           TEXT NOT NULL,
    tenant         TEXT NOT NULL,
    name           TEXT NOT NULL,
    before_text    TEXT NOT NULL,
    after_text     TEXT NOT NULL,
    PRIMARY KEY (revision, number)
) STRICT;
CREATE INDEX audit_tenant ON audit (tenant, revision, number);

-- +goose StatementBegin
CREATE TRIGGER audit_update BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'rows of audit never change');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_delete BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'rows of audit never go');
END;
-- +goose StatementEnd
