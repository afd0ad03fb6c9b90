-- +goose Up

-- The class of service that an attempt asked for, and the one that its provider
-- says has served; empty where nobody named one, and in lines from before.
ALTER TABLE lines ADD COLUMN asked_class TEXT NOT NULL DEFAULT '';
ALTER TABLE lines ADD COLUMN served_class TEXT NOT NULL DEFAULT '';
