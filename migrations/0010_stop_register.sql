-- The stop register (WAT-C4c) and the register of part payments (WAT-B9): as the commitments do,
-- their entries live inside their case's row, so they are right at every moment.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

ALTER TABLE cases
    ADD COLUMN stops jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN part_payments jsonb NOT NULL DEFAULT '[]';

-- As before, but for the two registers.
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
        part_payments = excluded.part_payments;
END
$$;

CREATE INDEX cases_stopped ON cases (organisation, case_id) WHERE stops <> '[]';
CREATE INDEX cases_paid_in_part ON cases (organisation, case_id) WHERE part_payments <> '[]';

-- Every valve that was closed: `WHERE restored_at IS NULL` is whose supply is stopped now.
CREATE VIEW stop_register AS
SELECT c.organisation, c.case_id, c.district, s.*
FROM cases c
CROSS JOIN LATERAL ROWS FROM (
    jsonb_to_recordset(c.stops) AS (
        account text, premises text, kind text, since timestamptz, crew text, permitted boolean,
        valve text, seal text, reading bigint, reopened_at timestamptz, restored_at timestamptz
    )
) WITH ORDINALITY AS s(
    account, premises, kind, since, crew, permitted, valve, seal, reading, reopened_at,
    restored_at, number
)
WHERE c.stops <> '[]';

-- Payments that covered no whole bill when they came; those taken back stay, and say so.
CREATE VIEW part_payments AS
SELECT c.organisation, c.case_id, c.district, p.*
FROM cases c
CROSS JOIN LATERAL ROWS FROM (
    jsonb_to_recordset(c.part_payments) AS (
        account text, payment text, amount bigint, currency text, paid_at timestamptz,
        reversed_at timestamptz
    )
) WITH ORDINALITY AS p(account, payment, amount, currency, paid_at, reversed_at, number)
WHERE c.part_payments <> '[]';

-- As before: a view's columns are those of its day.
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

GRANT SELECT ON stop_register, part_payments, worklist
TO standpipe_worker, standpipe_gateway, standpipe_auditor;
