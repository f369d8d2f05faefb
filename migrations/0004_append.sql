-- The only ways into the log.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- Append decisions and their events to one stream in one transaction, if it is at p_expected.
--
-- p_commands, p_decided_at and p_event_counts run in parallel, one per decision; p_headers and
-- p_bodies one per event, in order. p_messages: [{event (from 0, in this append), ordinal, to,
-- recipient, template, params}]. p_summary: the case's row after all of it.
--
-- outcome `appended`: log_version and head are the stream's version and the log's position now.
-- outcome `behind`: nothing was written, because the stream is further on, or holds one of the
-- commands, or no command was given. bodies are the events after p_expected; held the decisions from
-- there on and those whose ids were given; conflicts the ids held with other content.
-- SP001: the log is shorter than the case knows it. SP002: the parts don't fit each other.
CREATE FUNCTION append_events(
    p_organisation text,
    p_stream text,
    p_expected integer,
    p_policy bytea,  -- its canonical JSON; needed with a stream's first append
    p_commands bytea[],
    p_decided_at timestamptz[],
    p_event_counts integer[],
    p_headers bytea[],
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
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
DECLARE
    total CONSTANT integer := cardinality(p_headers);
    now_recorded timestamptz;
    is_new boolean := false;
    is_held boolean;
    fits boolean;
    asked decisions[];
    fresh events[];
BEGIN
    SELECT array_agg(
        ROW(
            p_organisation, p_stream, c.id, sha256(d.command), d.command,
            c.actor ->> 'subject', c.actor ->> 'role', c.actor ->> 'proof',
            d.decided_at, NULL, d.event_count, p_expected + d.events_so_far, 0
        )::decisions
        ORDER BY d.ordinal
    )
    INTO asked
    FROM (
        SELECT u.*, sum(u.event_count) OVER (ORDER BY u.ordinal) AS events_so_far
        FROM unnest(p_commands, p_decided_at, p_event_counts)
            WITH ORDINALITY AS u(command, decided_at, event_count, ordinal)
    ) d
    CROSS JOIN LATERAL jsonb_to_record(convert_from(d.command, 'UTF8')::jsonb)
        AS c(id text, actor jsonb);

    SELECT s.version INTO log_version
    FROM streams s WHERE s.organisation = p_organisation AND s.stream = p_stream
    FOR UPDATE;
    IF NOT FOUND AND p_expected = 0 AND asked IS NOT NULL THEN
        IF p_policy IS NULL THEN
            RAISE EXCEPTION 'the first append of % needs its policy', p_stream
                USING ERRCODE = 'SP002';
        END IF;
        INSERT INTO streams (organisation, stream, kind, version, policy)
        VALUES (p_organisation, p_stream, split_part(p_stream, '-', 1), total, sha256(p_policy))
        ON CONFLICT DO NOTHING;
        is_new := FOUND;
        IF NOT is_new THEN
            -- Another run opened it a moment ago; the insert waited for its commit.
            SELECT s.version INTO log_version
            FROM streams s WHERE s.organisation = p_organisation AND s.stream = p_stream
            FOR UPDATE;
        END IF;
    END IF;
    IF is_new OR log_version IS NULL THEN
        log_version := 0;
    END IF;
    IF log_version < p_expected THEN
        RAISE EXCEPTION 'the log of % ends at version %, the case is at %', p_stream, log_version,
            p_expected USING ERRCODE = 'SP001';
    END IF;

    IF NOT is_new THEN
        SELECT count(*) > 0,
               array_agg(a.command_id) FILTER (WHERE a.command_hash <> d.command_hash)
        INTO is_held, conflicts
        FROM unnest(asked) a
        JOIN decisions d USING (organisation, stream, command_id);

        IF is_held OR log_version > p_expected OR asked IS NULL THEN
            outcome := 'behind';
            SELECT array_agg(e.body ORDER BY e.version) INTO bodies
            FROM events e
            WHERE e.organisation = p_organisation AND e.stream = p_stream
                AND e.version > p_expected;
            SELECT jsonb_agg(
                jsonb_build_object(
                    'command_id', d.command_id, 'command_hash', encode(d.command_hash, 'hex'),
                    'version', d.version, 'position', d.position, 'events', ARRAY(
                        SELECT e.type FROM events e
                        WHERE e.organisation = d.organisation AND e.stream = d.stream
                            AND e.version > d.version - d.event_count AND e.version <= d.version
                        ORDER BY e.version
                    )
                )
                ORDER BY d.version, d.event_count = 0, d.decided_at, d.command_id
            )
            INTO held
            FROM decisions d
            WHERE d.organisation = p_organisation AND d.stream = p_stream
                AND (
                    d.version > p_expected
                    OR (d.version = p_expected AND d.event_count = 0)
                    OR d.command_id IN (SELECT a.command_id FROM unnest(asked) a)
                );
            RETURN;
        END IF;
    END IF;

    -- Everything but the positions is worked out before the log's head is locked.
    SELECT array_agg(
            ROW(
                h.organisation, 0, h.stream, h.version, h.event_id, h.type, h.schema_version,
                h.occurred_at, NULL, h.command_id, e.header, e.body,
                sha256('\x00'::bytea || e.header)
            )::events
            ORDER BY e.ordinal
        ),
        bool_and((
            h.organisation = p_organisation
            AND h.stream = p_stream
            AND h.version = p_expected + e.ordinal
            AND h.body_hash = encode(sha256(e.body), 'hex')
            AND h.command_id = d.command_id
            AND h.command_hash = encode(d.command_hash, 'hex')
            AND h.decided_at = d.decided_at
        ) IS TRUE)
    INTO fresh, fits
    FROM unnest(p_headers, p_bodies) WITH ORDINALITY AS e(header, body, ordinal)
    CROSS JOIN LATERAL jsonb_to_record(convert_from(e.header, 'UTF8')::jsonb) AS h(
        organisation text, stream text, version integer, event_id uuid, type text,
        schema_version integer, occurred_at timestamptz, decided_at timestamptz,
        command_id text, command_hash text, body_hash text
    )
    LEFT JOIN unnest(asked) d
        ON p_expected + e.ordinal > d.version - d.event_count
        AND p_expected + e.ordinal <= d.version;
    IF NOT coalesce(fits, true)
        OR cardinality(p_bodies) <> total
        OR asked[cardinality(asked)].version <> p_expected + total
    THEN
        RAISE EXCEPTION 'the headers do not fit the bodies, the commands or the stream'
            USING ERRCODE = 'SP002';
    END IF;
    IF total > 0 AND p_summary IS NULL THEN
        RAISE EXCEPTION 'events need the summary that they lead to' USING ERRCODE = 'SP002';
    END IF;

    log_version := p_expected + total;
    IF is_new THEN
        INSERT INTO policies (hash, content) VALUES (sha256(p_policy), p_policy)
        ON CONFLICT DO NOTHING;
    ELSIF total > 0 THEN
        UPDATE streams s SET version = log_version
        WHERE s.organisation = p_organisation AND s.stream = p_stream;
    END IF;
    IF p_summary IS NOT NULL THEN
        PERFORM write_case(p_organisation, p_stream, log_version, p_summary);
    END IF;

    -- From here to the commit this organisation's log belongs to us alone: positions are gap-free
    -- and in commit order, and whoever reads by position never misses one.
    UPDATE heads h SET position = h.position + total WHERE h.organisation = p_organisation
    RETURNING h.position - total INTO head;
    IF NOT FOUND THEN
        INSERT INTO heads AS h (organisation, position) VALUES (p_organisation, total)
        ON CONFLICT (organisation) DO UPDATE SET position = h.position + excluded.position
        RETURNING h.position - total INTO head;
    END IF;
    now_recorded := clock_timestamp();

    INSERT INTO events
    SELECT f.organisation, head + f.version - p_expected, f.stream, f.version, f.event_id, f.type,
        f.schema_version, f.occurred_at, now_recorded, f.command_id, f.header, f.body, f.leaf_hash
    FROM unnest(fresh) f;

    INSERT INTO decisions
    SELECT a.organisation, a.stream, a.command_id, a.command_hash, a.command, a.actor, a.role,
        a.proof, a.decided_at, now_recorded, a.event_count, a.version, head + a.version - p_expected
    FROM unnest(asked) a;

    IF p_messages IS NOT NULL THEN
        INSERT INTO outbox (
            organisation, position, ordinal, event_id, stream, recipient_kind, recipient, template,
            params
        )
        SELECT p_organisation, head + m.event + 1, m.ordinal, fresh[m.event + 1].event_id, p_stream,
            m.to, m.recipient, m.template, m.params
        FROM jsonb_to_recordset(p_messages) AS m(
            event integer, ordinal integer, "to" text, recipient text, template text, params jsonb
        );
    END IF;

    outcome := 'appended';
    head := head + total;
END
$$;

-- A case's row from its summary. Only append_events calls it, and runs it on its own search path.
CREATE FUNCTION write_case(
    p_organisation text, p_case_id text, p_version integer, p_summary jsonb
) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO cases
    SELECT r.*
    FROM jsonb_populate_record(
        NULL::cases,
        p_summary || jsonb_build_object(
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
        commitments = excluded.commitments;
END
$$;

-- Keep a refused signal; the same refusal again changes nothing.
CREATE FUNCTION record_refusal(
    p_organisation text, p_stream text, p_command_id text, p_command_type text, p_actor text,
    p_refused_at timestamptz, p_reasons text[]
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    INSERT INTO refusals (
        organisation, stream, command_id, command_type, actor, refused_at, reasons
    )
    VALUES (
        p_organisation, p_stream, p_command_id, p_command_type, p_actor, p_refused_at, p_reasons
    )
    ON CONFLICT DO NOTHING;
$$;

GRANT EXECUTE ON FUNCTION append_events, record_refusal TO standpipe_worker, standpipe_gateway;
