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
