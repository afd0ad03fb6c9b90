-- +goose Up

-- What a line feeds of its windows, by their ids, so that writing a line is
-- writing one row. It is NULL where an earlier Weir wrote the line: then
-- allocations has a row for each window.
ALTER TABLE lines ADD COLUMN allocations JSON;
