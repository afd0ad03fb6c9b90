-- +goose Up

-- Buckets of one rolling window have a series; windows that are whole by
-- themselves have the empty one.
ALTER TABLE windows ADD COLUMN series TEXT NOT NULL DEFAULT '';
CREATE INDEX windows_series ON windows (series, starts);

-- Whoever claims in a series locks its row.
CREATE TABLE series (
    id TEXT PRIMARY KEY
) STRICT;
