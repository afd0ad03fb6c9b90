-- +goose Up

-- Why an attempt went to its target, in words for people; empty in lines from
-- before.
ALTER TABLE lines ADD COLUMN reason TEXT NOT NULL DEFAULT '';
