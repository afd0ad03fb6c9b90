-- +goose Up

-- Whose an idempotency key is. Busy is until when its call can be running, and
-- null once it was answered; the answer is sealed under the key, and null where
-- none is kept.
CREATE TABLE claims (
    id          BYTEA PRIMARY KEY,
    asks        BYTEA NOT NULL,
    request_id  TEXT COLLATE "C" NOT NULL,
    replica     TEXT COLLATE "C" NOT NULL,
    incarnation BIGINT NOT NULL,
    busy        BIGINT,
    expires     BIGINT NOT NULL,
    answer      BYTEA
);
CREATE INDEX claims_expires ON claims (expires);
