-- The readers' half-yearly assessments (WAT-P1): a line of each lives inside its case's row.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

CREATE INDEX cases_assessed ON cases (organisation, case_id) WHERE assessment IS NOT NULL;

-- What each reader's overdue accounts of a half-year come to, as it stands.
CREATE VIEW assessments AS
SELECT c.organisation, c.case_id, c.stage, c.closed_at, a.*
FROM cases c
CROSS JOIN LATERAL jsonb_to_record(c.assessment) AS a(
    reader text, half_year text, accounts integer, excluded integer, counted integer,
    amount bigint, currency text
)
WHERE c.assessment IS NOT NULL;

-- When arrears cases began and ended: who was overdue at the end of a half-year is counted from the
-- log (WAT-P1), and this finds the few that were, among all that ever were.
CREATE INDEX events_arrears ON events (organisation, stream)
INCLUDE (type, occurred_at, command_id)
WHERE type IN ('ArrearsOpened', 'ArrearsClosed', 'MovedOut', 'DebtWrittenOff', 'ArrearsWithdrawn');

GRANT SELECT ON assessments TO standpipe_worker, standpipe_gateway, standpipe_auditor;
