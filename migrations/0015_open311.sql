-- Civic apps ask what became of the last 90 days' reports, and anybody may be a civic app: they are
-- found among all others without looking at those.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- A body is canonical JSON, so its source is written in this one way. All other events cost their
-- append one comparison of the type.
CREATE INDEX events_open311 ON events (organisation, occurred_at)
WHERE type = 'RepairReported' AND position('"source":"open311"'::bytea IN body) > 0;
