-- +goose Up

-- Lines are in partitions by the UTC day in which their request id was made. An
-- id is a UUIDv7 and begins with its time, so days are ranges of ids, and the
-- primary key, the statements of an earlier Weir and what they conflict with
-- stay as they are. What was there becomes the first partition, without being
-- copied; it is read once, to see that all of it belongs there.

-- +goose StatementBegin
DO $$
DECLARE
    name   TEXT;
    millis TEXT;
    bound  TEXT;
BEGIN
    LOCK TABLE lines, allocations IN ACCESS EXCLUSIVE MODE;
    -- A partition that a foreign key refers to cannot be dropped.
    FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'allocations'::regclass AND confrelid = 'lines'::regclass LOOP
        EXECUTE format('ALTER TABLE allocations DROP CONSTRAINT %I', name);
    END LOOP;

    ALTER TABLE lines RENAME TO lines_before;
    ALTER INDEX lines_pkey RENAME TO lines_before_pkey;
    ALTER INDEX lines_tenant_started RENAME TO lines_before_tenant_started;
    CREATE TABLE lines (LIKE lines_before INCLUDING ALL) PARTITION BY RANGE (request_id);
    -- For ids of other days, and for those without a time.
    CREATE TABLE lines_other PARTITION OF lines DEFAULT;

    -- Calls of today may be there already; in a new database nothing is.
    millis := lpad(to_hex(1000 * CAST(EXTRACT(EPOCH FROM date_trunc('day', now() AT TIME ZONE 'UTC')) AS BIGINT)
        + 86400000 * CASE WHEN EXISTS (SELECT FROM lines_before) THEN 1 ELSE -2 END), 12, '0');
    bound := left(millis, 8) || '-' || right(millis, 4);
    WITH moved AS (DELETE FROM lines_before WHERE request_id >= bound RETURNING *)
        INSERT INTO lines_other SELECT * FROM moved;
    EXECUTE format('ALTER TABLE lines ATTACH PARTITION lines_before FOR VALUES FROM (MINVALUE) TO (%L)', bound);
END
$$;
-- +goose StatementEnd

-- What lines fed that were dropped since, by window and day.
CREATE TABLE archived (
    window_id TEXT COLLATE "C" NOT NULL,
    day       BIGINT NOT NULL,
    amount    BIGINT NOT NULL,
    PRIMARY KEY (window_id, day)
);

-- Lines of calls from before it are dropped, and no more are taken.
CREATE TABLE horizon (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    before BIGINT NOT NULL
);
INSERT INTO horizon (id, before) VALUES (1, 0);

-- The newest version of the schema without which a Weir cannot use this
-- database: one that knows less may start on it as long as it knows this.
CREATE TABLE compatibility (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    oldest BIGINT NOT NULL
);
INSERT INTO compatibility (id, oldest) VALUES (1, 10);
