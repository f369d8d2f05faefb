-- The stop register (WAT-C4c) and the register of part payments (WAT-B9): as the commitments do,
-- their entries live inside their case's row, so they are right at every moment.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

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

GRANT SELECT ON stop_register, part_payments
TO standpipe_worker, standpipe_gateway, standpipe_auditor;
