-- +goose Up

-- What lines fed that were dropped since, by window and day.
CREATE TABLE archived (
    window_id TEXT NOT NULL,
    day       INTEGER NOT NULL,
    amount    INTEGER NOT NULL,
    PRIMARY KEY (window_id, day)
) STRICT;

-- Lines of calls from before it are dropped, and no more are taken.
CREATE TABLE horizon (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    before INTEGER NOT NULL
) STRICT;
INSERT INTO horizon (id, before) VALUES (1, 0);

-- The newest version of the schema without which a Weir cannot use this
-- database: one that knows less may start on it as long as it knows this.
CREATE TABLE compatibility (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    oldest INTEGER NOT NULL
) STRICT;
INSERT INTO compatibility (id, oldest) VALUES (1, 10);
