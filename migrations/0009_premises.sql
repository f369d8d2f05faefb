-- Interlocks: where a case is open, so that a permit to stop supply there is refused on sight of
-- the log, whatever messages between cases are on their way.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

CREATE INDEX cases_on_premises ON cases USING gin (premises)
WHERE NOT final AND premises <> '{}';

