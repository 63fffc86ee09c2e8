-- Whom a run belongs to, and what becomes of it without an owner.

-- What becomes of orphans that name no reconciler, whoever recovers them; null: the manager decides.
ALTER TABLE store ADD COLUMN reconciler TEXT;

-- It was claimed: others can run it, too.
ALTER TABLE runs ADD COLUMN shared INTEGER;

-- How long a lease lasts, in microseconds. It is judged by who saw it unrenewed for that long, not by the clock.
ALTER TABLE runs ADD COLUMN lease_us INTEGER;
ALTER TABLE leases ADD COLUMN lease_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN renewals INTEGER NOT NULL DEFAULT 0;

-- A session's heartbeats, counted: all its leases are renewed together.
ALTER TABLE sessions ADD COLUMN beat INTEGER NOT NULL DEFAULT 0;
