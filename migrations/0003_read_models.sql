-- Read models: written in the append's own transaction, rebuilt from the log by `standpipe rebuild`.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- The columns are named as in schemas.envelope.CaseSummary, which fills them as they stand.
CREATE TABLE cases (
    organisation text NOT NULL,
    case_id text NOT NULL,
    version integer NOT NULL,
    kind text NOT NULL,
    stage text NOT NULL,
    final boolean NOT NULL,
    owner_kind text,
    owner text,
    district text,
    category text,
    severity text,
    priority boolean NOT NULL,
    opened_at timestamptz,
    closed_at timestamptz,
    next_due_at timestamptz,
    next_deadline_at timestamptz,
    commitments jsonb NOT NULL,
    PRIMARY KEY (organisation, case_id)
) WITH (fillfactor = 80);

CREATE INDEX cases_open ON cases (organisation, case_id) WHERE NOT final;

-- Every promise of every case. They live inside their case's row, so an append writes one row,
-- however many promises there are.
CREATE VIEW commitments AS
SELECT c.organisation, c.case_id, c.kind, c.district, m.*
FROM cases c
CROSS JOIN LATERAL jsonb_to_recordset(c.commitments) AS m(
    id text, name text, rule text, state text, start timestamptz, due timestamptz,
    met_at timestamptz, ended_at timestamptz, fired integer
);

-- What is open, in the order in which it should be worked on: special care first, then whatever the
-- customer has been owed longest. waiting_since is the earliest due time of a promise that is
-- running, or broken and still outstanding.
CREATE VIEW worklist AS
SELECT c.*, w.waiting_since
FROM cases c
CROSS JOIN LATERAL (
    SELECT min((m ->> 'due')::timestamptz) AS waiting_since
    FROM jsonb_array_elements(c.commitments) AS m
    WHERE m ->> 'state' = 'running' OR (m ->> 'state' = 'broken' AND m ->> 'ended_at' IS NULL)
) w
WHERE NOT c.final AND c.closed_at IS NULL
ORDER BY c.priority DESC, w.waiting_since NULLS LAST, c.opened_at, c.case_id;

GRANT SELECT ON cases, commitments, worklist
TO standpipe_worker, standpipe_gateway, standpipe_auditor;
