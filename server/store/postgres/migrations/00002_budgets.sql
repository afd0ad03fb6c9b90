-- +goose Up

-- Buckets of one rolling window have a series; windows that are whole by
-- themselves have the empty one.
ALTER TABLE windows ADD COLUMN series TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX windows_series ON windows (series, starts);

-- Whoever claims in a series locks its row.
CREATE TABLE series (
    id TEXT COLLATE "C" PRIMARY KEY
);

-- How many claims a window has refused, and granted in excess of its limit.
ALTER TABLE windows ADD COLUMN refused BIGINT NOT NULL DEFAULT 0;
ALTER TABLE windows ADD COLUMN exceeded BIGINT NOT NULL DEFAULT 0;

-- Thresholds that the spending of a window has reached: one row for each window
-- and percentage. Series is the window's own id, or that of its series; starts
-- is the bucket in which it was reached, 0 where the window is whole.
CREATE TABLE alerts (
    series       TEXT COLLATE "C" NOT NULL,
    percent      BIGINT NOT NULL,
    starts       BIGINT NOT NULL,
    tenant       TEXT COLLATE "C" NOT NULL,
    budget       TEXT COLLATE "C" NOT NULL,
    scope        TEXT COLLATE "C" NOT NULL,
    unit         TEXT COLLATE "C" NOT NULL,
    spent        BIGINT NOT NULL,
    limit_amount BIGINT NOT NULL,
    raised       BIGINT NOT NULL,
    PRIMARY KEY (series, percent, starts)
);
CREATE INDEX alerts_budget ON alerts (tenant, budget, raised);

-- Top-ups and corrections of one window's limit. Rows never change; adjusted is
-- their sum.
CREATE TABLE adjustments (
    tenant    TEXT COLLATE "C" NOT NULL,
    budget    TEXT COLLATE "C" NOT NULL,
    id        TEXT COLLATE "C" NOT NULL,
    window_id TEXT COLLATE "C" NOT NULL,
    scope     TEXT COLLATE "C" NOT NULL,
    unit      TEXT COLLATE "C" NOT NULL,
    amount    BIGINT NOT NULL,
    reason    TEXT COLLATE "C" NOT NULL,
    key_name  TEXT COLLATE "C" NOT NULL,
    made      BIGINT NOT NULL,
    PRIMARY KEY (tenant, budget, id)
);
ALTER TABLE windows ADD COLUMN adjusted BIGINT NOT NULL DEFAULT 0;
CREATE INDEX adjustments_window ON adjustments (window_id);
CREATE INDEX windows_budget ON windows (tenant, budget, starts);
