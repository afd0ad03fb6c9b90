-- +goose Up

-- Limits of rates and of running calls over all replicas: a bucket, and what
-- each replica holds of it. Before idle one is not yet as good as new.
CREATE TABLE rates (
    scope TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    idle  INTEGER NOT NULL
) STRICT;
CREATE INDEX rates_idle ON rates (idle);
