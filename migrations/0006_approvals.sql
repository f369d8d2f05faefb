-- What else lives inside its case's row, as the commitments do: approvals, satisfaction answers, and
-- what later files make registers of. Written with the case, it is right at every moment.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

ALTER TABLE cases
    ADD COLUMN approvals jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN answers jsonb NOT NULL DEFAULT '[]',
    -- In small letters; a case may be open on several, and most name none.
    ADD COLUMN premises text[] NOT NULL DEFAULT '{}',
    ADD COLUMN stops jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN part_payments jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN assessment jsonb; -- which other kinds of case do not have

-- Write a case's row. A new column of `cases` needs this function alone: what a summary lacks,
-- because the worker that wrote it is older than the column, is taken from the first object here.
-- Only append_events calls it, on its own search path and settings.
CREATE FUNCTION put_case(
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

-- As before, but for put_case.
CREATE OR REPLACE FUNCTION append_events(
    p_organisation text,
    p_stream text,
    p_expected integer,
    p_policy_hash bytea,  -- these two are needed with a stream's first append
    p_policy bytea,
    p_commands bytea[],
    p_command_ids text[],
    p_command_hashes bytea[],
    p_decided_at text[],
    p_versions integer[],
    p_event_ids uuid[],
    p_types text[],
    p_schema_versions integer[],
    p_occurred_at text[],
    p_bodies bytea[],
    p_messages jsonb,
    p_summary jsonb,
    OUT outcome text,
    OUT log_version integer,
    OUT head bigint,
    OUT held jsonb,
    OUT bodies bytea[],
    OUT conflicts text[]
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = standpipe, pg_temp
-- One plan for all calls, because planning each anew cost a fifth; made while the tables are small,
-- it must still use their keys when they are not.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    total CONSTANT integer := cardinality(p_bodies);
    ours boolean := false;
    now_recorded timestamptz;
BEGIN
    -- Until we commit, nobody else writes a stream that is ours.
    IF cardinality(p_commands) > 0 AND NOT EXISTS (
        SELECT FROM decisions d
        WHERE d.organisation = p_organisation AND d.stream = p_stream
            AND d.command_id = ANY(p_command_ids)
    ) THEN
        IF p_expected = 0 AND p_policy IS NOT NULL THEN
            INSERT INTO streams (organisation, stream, kind, version, policy)
            VALUES (p_organisation, p_stream, split_part(p_stream, '-', 1), total, p_policy_hash)
            ON CONFLICT DO NOTHING;
            ours := FOUND;
            IF ours AND NOT EXISTS (SELECT FROM policies p WHERE p.hash = p_policy_hash) THEN
                INSERT INTO policies (hash, content) VALUES (p_policy_hash, p_policy)
                ON CONFLICT DO NOTHING;
            END IF;
        END IF;
        IF NOT ours THEN
            UPDATE streams s SET version = p_expected + total
            WHERE s.organisation = p_organisation AND s.stream = p_stream
                AND s.version = p_expected;
            ours := FOUND;
        END IF;
    END IF;
    IF NOT ours THEN
        outcome := 'behind';
        SELECT b.* INTO log_version, held, bodies, conflicts
        FROM read_behind(
            p_organisation, p_stream, p_expected, p_command_ids, p_command_hashes
        ) b;
        IF log_version = 0 AND held IS NULL AND cardinality(p_commands) > 0 THEN
            RAISE EXCEPTION 'the first append of % needs its policy', p_stream
                USING ERRCODE = 'SP002';
        END IF;
        RETURN;
    END IF;

    IF (total = ALL (ARRAY[
            p_versions[cardinality(p_commands)] - p_expected, cardinality(p_event_ids),
            cardinality(p_types), cardinality(p_schema_versions), cardinality(p_occurred_at)
        ])) IS NOT TRUE
    THEN
        RAISE EXCEPTION 'decisions and events do not add up' USING ERRCODE = 'SP002';
    END IF;
    IF total > 0 AND p_summary IS NULL THEN
        RAISE EXCEPTION 'events need the summary that they lead to' USING ERRCODE = 'SP002';
    END IF;
    -- Headers are put together from these, so none may hold what JSON would have to escape.
    IF concat(p_organisation, p_stream, array_to_string(p_command_ids || p_types, ''))
            ~ '[^A-Za-z0-9:/._#+-]'
        OR array_to_string(p_decided_at || p_occurred_at, '') ~ '[^0-9TZ:.-]'
    THEN
        RAISE EXCEPTION 'a name holds more than A-Z a-z 0-9 : / . _ # + -, or a time is not in UTC'
            USING ERRCODE = 'SP002';
    END IF;

    log_version := p_expected + total;
    IF p_summary IS NOT NULL THEN
        PERFORM put_case(p_organisation, p_stream, log_version, p_summary);
    END IF;

    -- From here to the commit this organisation's log belongs to us alone: positions are gap-free
    -- and in commit order, and whoever reads by position never misses one. The lock is a queue: of
    -- those who wait for a row instead, each commit wakes all.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_organisation, 0));
    UPDATE heads h SET position = h.position + total WHERE h.organisation = p_organisation
    RETURNING h.position - total INTO head;
    IF NOT FOUND THEN
        INSERT INTO heads AS h (organisation, position) VALUES (p_organisation, total)
        ON CONFLICT (organisation) DO UPDATE SET position = h.position + excluded.position
        RETURNING h.position - total INTO head;
    END IF;
    now_recorded := clock_timestamp();

    -- The header is what is proved later: canonical JSON of the very values that the columns get.
    INSERT INTO events
    SELECT p_organisation, head + e.ordinal, p_stream, p_expected + e.ordinal, e.event_id, e.type,
        e.schema_version, e.occurred_at::timestamptz, now_recorded, p_command_ids[e.decision],
        convert_to(concat(
            '{"body_hash":"', encode(sha256(e.body), 'hex'),
            '","command_hash":"', encode(p_command_hashes[e.decision], 'hex'),
            '","command_id":"', p_command_ids[e.decision],
            '","decided_at":"', p_decided_at[e.decision],
            '","event_id":"', e.event_id,
            '","occurred_at":"', e.occurred_at,
            '","organisation":"', p_organisation,
            '","schema_version":', e.schema_version,
            ',"stream":"', p_stream,
            '","type":"', e.type,
            '","version":', p_expected + e.ordinal,
            '}'
        ), 'UTF8'),
        e.body
    FROM (
        -- An event belongs to the first decision that ends at its version or later.
        SELECT u.*, 1 + width_bucket(p_expected + u.ordinal::integer - 1, p_versions) AS decision
        FROM unnest(p_event_ids, p_types, p_schema_versions, p_occurred_at, p_bodies)
            WITH ORDINALITY
            AS u(event_id, type, schema_version, occurred_at, body, ordinal)
    ) e;

    INSERT INTO decisions
    SELECT p_organisation, p_stream, d.id, d.hash, d.command, c.actor ->> 'subject',
        c.actor ->> 'role', c.actor ->> 'proof', d.decided_at::timestamptz, now_recorded,
        d.version - coalesce(p_versions[d.ordinal - 1], p_expected), d.version,
        head + d.version - p_expected
    FROM unnest(p_command_ids, p_command_hashes, p_commands, p_decided_at, p_versions)
        WITH ORDINALITY AS d(id, hash, command, decided_at, version, ordinal)
    CROSS JOIN LATERAL jsonb_to_record(convert_from(d.command, 'UTF8')::jsonb) AS c(actor jsonb);

    IF p_messages IS NOT NULL THEN
        INSERT INTO outbox (
            organisation, position, ordinal, event_id, stream, recipient_kind, recipient, template,
            params
        )
        SELECT p_organisation, head + m.event + 1, m.ordinal, p_event_ids[m.event + 1], p_stream,
            m.to, m.recipient, m.template, m.params
        FROM jsonb_to_recordset(p_messages) AS m(
            event integer, ordinal integer, "to" text, recipient text, template text, params jsonb
        );
    END IF;

    outcome := 'appended';
    head := head + total;
END
$$;

-- Every approval of every case, the longest awaited first: `WHERE state = 'requested'` is the
-- supervisors' inbox. `asks` says of the case whether anything is still requested in it, which the
-- index knows.
CREATE INDEX cases_asking ON cases (organisation, case_id)
WHERE jsonb_path_exists(approvals, '$[*] ? (@.state == "requested")');

CREATE VIEW approvals AS
SELECT
    c.organisation, c.case_id, c.kind AS case_kind, c.district,
    jsonb_path_exists(c.approvals, '$[*] ? (@.state == "requested")') AS asks,
    a.id, a.kind, a.rule, a.roles, a.facts, a.facts_hash, a.asked_by, a.asked_at, a.barred,
    a.needed, a.silence, a.commitment, coalesce(a.signed, false) AS signed, a.state, a.given,
    a.delegations, a.ended_at, a.due
FROM cases c
CROSS JOIN LATERAL jsonb_to_recordset(c.approvals) AS a(
    id text, kind text, rule text, roles text[], facts jsonb, facts_hash text, asked_by text,
    asked_at timestamptz, barred text[], needed integer, silence text, commitment text,
    signed boolean, state text, given jsonb, delegations jsonb, ended_at timestamptz,
    due timestamptz
)
ORDER BY a.due, c.case_id, a.id;

-- When a customer was last asked, as an index can hold it: the times have their zone with them, so
-- it depends on no setting.
CREATE FUNCTION last_answered(answers jsonb) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 100
AS $$
    SELECT max((a ->> 'at')::timestamptz) FROM jsonb_array_elements(answers) AS a;
$$;

CREATE INDEX cases_answered ON cases (organisation, last_answered(answers)) WHERE answers <> '[]';

-- What came of every customer who was called, to be counted by department and month (CNPC-2.5).
-- Months are the policy's, in its time zone, so whoever asks says when they begin; with the same
-- lower bound for `at` and for `last_at`, the case's last, the index finds them.
CREATE VIEW satisfaction_answers AS
SELECT c.organisation, c.case_id, c.kind, last_answered(c.answers) AS last_at, a.*
FROM cases c
CROSS JOIN LATERAL jsonb_to_recordset(c.answers) AS a(
    at timestamptz, department text, result text
)
WHERE c.answers <> '[]';

-- As before, but premises are no work: cases there are. A staff file or register, which stays open
-- for years, and an assessment are work only while something in them is owed or asked for.
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

-- Whose follow-up became due when: what a sample is drawn from (KUN-5.3.6).
CREATE INDEX events_follow_up ON events (organisation, occurred_at)
WHERE type IN ('CallbackDue', 'FollowUpDue');

GRANT SELECT ON approvals, satisfaction_answers, worklist
TO standpipe_worker, standpipe_gateway, standpipe_auditor;

-- A view's reader calls its functions; this one tells nothing that it was not given.
GRANT EXECUTE ON FUNCTION last_answered
TO standpipe_worker, standpipe_gateway, standpipe_auditor;
