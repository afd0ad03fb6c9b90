-- +goose Up

-- Buckets of one rolling window have a series; windows that are whole by
-- themselves have the empty one.
ALTER TABLE windows ADD COLUMN series TEXT NOT NULL DEFAULT '';
CREATE INDEX windows_series ON windows (series, starts);

-- Whoever claims in a series locks its row.
CREATE TABLE series (
    id TEXT PRIMARY KEY
) STRICT;

-- How many claims a window has refused, and granted in excess of its limit.
ALTER TABLE windows ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE windows ADD COLUMN exceeded INTEGER NOT NULL DEFAULT 0;

-- Thresholds that the spending of a window has reached: one row for each window
-- and percentage. Series is the window's own id, or that of its series; starts
-- is the bucket in which it was reached, 0 where the window is whole.
CREATE TABLE alerts (
    series       TEXT NOT NULL,
    percent      INTEGER NOT NULL,
    starts       INTEGER NOT NULL,
    tenant       TEXT NOT NULL,
    budget       TEXT NOT NULL,
    scope        TEXT NOT NULL,
    unit         TEXT NOT NULL,
    spent        INTEGER NOT NULL,
    limit_amount INTEGER NOT NULL,
    raised       INTEGER NOT NULL,
    PRIMARY KEY (series, percent, starts)
) STRICT;
CREATE INDEX alerts_budget ON alerts (tenant, budget, raised);

-- Top-ups and corrections of one window's limit. Rows never change; adjusted is
-- their sum.
CREATE TABLE adjustments (
    tenant    TEXT NOT NULL,
    budget    TEXT NOT NULL,
    id        TEXT NOT NULL,
    window_id TEXT NOT NULL,
    scope     TEXT NOT NULL,
    unit      TEXT NOT NULL,
    amount    INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    key_name  TEXT NOT NULL,
    made      INTEGER NOT NULL,
    PRIMARY KEY (tenant, budget, id)
) STRICT;
ALTER TABLE windows ADD COLUMN adjusted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX adjustments_window ON adjustments (window_id);
CREATE INDEX windows_budget ON windows (tenant, budget, starts);
