-- +goose Up

-- While a key is rotated its secret of before is good as well, until then.
ALTER TABLE keys ADD COLUMN old_hash BYTEA;
ALTER TABLE keys ADD COLUMN old_until BIGINT;
CREATE UNIQUE INDEX keys_old_hash ON keys (old_hash);

-- Who changed what: one row for each document or key, written with the change.
-- Rows never change. Number counts the rows of a revision.
CREATE TABLE audit (
    revision       BIGINT NOT NULL,
    number         BIGINT NOT NULL,
    made           BIGINT NOT NULL,
    author_tenant  TEXT COLLATE "C" NOT NULL,
    author_project TEXT COLLATE "C" NOT NULL,
    author_key     TEXT COLLATE "C" NOT NULL,
    author_role    TEXT COLLATE "C" NOT NULL,
    request_id     TEXT COLLATE "C" NOT NULL,
    action         TEXT COLLATE "C" NOT NULL,
    kind           TEXT COLLATE "C" NOT NULL,
    tenant         TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    before_text    TEXT COLLATE "C" NOT NULL,
    after_text     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (revision, number)
);
CREATE INDEX audit_tenant ON audit (tenant, revision, number);

-- +goose StatementBegin
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of audit never change';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
