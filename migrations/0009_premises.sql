-- Interlocks: where a case is open, so that a permit to stop supply there is refused on sight of
-- the log, whatever messages between cases are on their way.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- In small letters; a case may be open on several, and most name none.
ALTER TABLE cases ADD COLUMN premises text[] NOT NULL DEFAULT '{}';

CREATE INDEX cases_on_premises ON cases USING gin (premises)
WHERE NOT final AND premises <> '{}';

-- As before, but for the premises.
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
        '{"approvals": [], "answers": [], "premises": []}' || p_summary || jsonb_build_object(
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
        premises = excluded.premises;
END
$$;

-- As before, but premises are no work: cases there are.
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
        c.kind NOT IN ('conduct', 'satisfaction')
        OR w.waiting_since IS NOT NULL
        OR jsonb_path_exists(c.approvals, '$[*] ? (@.state == "requested")')
    )
ORDER BY c.priority DESC, w.waiting_since NULLS LAST, c.opened_at, c.case_id;

GRANT SELECT ON worklist TO standpipe_worker, standpipe_gateway, standpipe_auditor;
