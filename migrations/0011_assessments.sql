-- The readers' half-yearly assessments (WAT-P1): a line of each lives inside its case's row.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

ALTER TABLE cases ADD COLUMN assessment jsonb;

-- As before, but for the assessment, which other kinds of case do not have.
CREATE OR REPLACE FUNCTION put_case(
    p_organisation text, p_case_id text, p_version integer, p_summary jsonb
) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO cases
    SELECT r.*
    FROM jsonb_populate_record(
        NULL::cases,
        '{"approvals": [], "answers": [], "premises": [], "stops": [], "part_payments": []}'
        || p_summary || jsonb_build_object(
            'organisation', p_organisation, 'case_id', p_case_id, 'version', p_version
        )
    ) r
    ON CONFLICT (organisation, case_id) DO UPDATE SET
        version = excluded.version,
        kind = excluded.kind,
        stage = excluded.stage,
        final = excluded.final,
        owner_kind = excluded.owner_kind,
        owner = excluded.owner,
        district = excluded.district,
        category = excluded.category,
        severity = excluded.severity,
        priority = excluded.priority,
        opened_at = excluded.opened_at,
        closed_at = excluded.closed_at,
        next_due_at = excluded.next_due_at,
        next_deadline_at = excluded.next_deadline_at,
        commitments = excluded.commitments,
        approvals = excluded.approvals,
        answers = excluded.answers,
        premises = excluded.premises,
        stops = excluded.stops,
        part_payments = excluded.part_payments,
        assessment = excluded.assessment;
END
$$;

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

-- As before: a view's columns are those of its day. An assessment that nobody has to decide on is no
-- work, either.
DROP VIEW worklist;
CREATE VIEW worklist AS
SELECT c.*, w.waiting_since
FROM cases c
CROSS JOIN LATERAL (
    SELECT min((m ->> 'due')::timestamptz) AS waiting_since
    FROM jsonb_array_elements(c.commitments) AS m
    WHERE m ->> 'state' = 'running' OR (m ->> 'state' = 'broken' AND m ->> 'ended_at' IS NULL)
) w
WHERE NOT c.final AND c.closed_at IS NULL
    AND c.kind <> 'premises'
    AND (
        c.kind NOT IN ('conduct', 'satisfaction', 'assessment')
        OR w.waiting_since IS NOT NULL
        OR jsonb_path_exists(c.approvals, '$[*] ? (@.state == "requested")')
    )
ORDER BY c.priority DESC, w.waiting_since NULLS LAST, c.opened_at, c.case_id;

GRANT SELECT ON assessments, worklist
TO standpipe_worker, standpipe_gateway, standpipe_auditor;
