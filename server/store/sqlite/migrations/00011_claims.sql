-- +goose Up

-- Whose an idempotency key is. Busy is until when its call can be running, and
-- null once it was answered; the answer is sealed under the key, and null where
-- none is kept.
CREATE TABLE claims (
    id          BLOB PRIMARY KEY,
    asks        BLOB NOT NULL,
    request_id  TEXT NOT NULL,
    replica     TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    busy        INTEGER,
    expires     INTEGER NOT NULL,
    answer      BLOB
) STRICT;
CREATE INDEX claims_expires ON claims (expires);
