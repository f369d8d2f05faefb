-- The only ways into the log.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- Append decisions and their events to one stream in one transaction, if it is at p_expected.
--
-- p_policy is canonical JSON. p_commands to p_versions run in parallel, one per decision
-- (p_versions: the stream's version after it); p_event_ids to p_bodies too, one per event, in order.
-- Times come as text, because headers hold them to the letter. p_messages: [{event (from 0, in this
-- append), ordinal, to, recipient, template, params}]. p_summary: the case's row after all of it.
--
-- outcome `appended`: log_version and head are the stream's version and the log's position now.
-- outcome `behind`: nothing was written, because the stream is further on, or holds one of the
-- commands, or no command was given. The rest is told by read_behind.
-- SP001: the log is shorter than the case knows it. SP002: the parts don't fit each other.
CREATE FUNCTION append_events(
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
        INSERT INTO cases
        SELECT r.*
        FROM jsonb_populate_record(
            NULL::cases,
            p_summary || jsonb_build_object(
                'organisation', p_organisation, 'case_id', p_stream, 'version', log_version
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

-- What a case missed that knows its stream up to p_expected. bodies: the events after it. held: the
-- decisions from there on and those whose ids were given; conflicts: the ids held with other content.
-- Waits for whoever is writing the stream. Only append_events calls it, on its own search path.
CREATE FUNCTION read_behind(
    p_organisation text,
    p_stream text,
    p_expected integer,
    p_command_ids text[],
    p_command_hashes bytea[],
    OUT log_version integer,
    OUT held jsonb,
    OUT bodies bytea[],
    OUT conflicts text[]
)
LANGUAGE plpgsql
AS $$
BEGIN
    SELECT s.version INTO log_version
    FROM streams s WHERE s.organisation = p_organisation AND s.stream = p_stream
    FOR UPDATE;
    log_version := coalesce(log_version, 0);
    IF log_version < p_expected THEN
        RAISE EXCEPTION 'the log of % ends at version %, the case is at %', p_stream, log_version,
            p_expected USING ERRCODE = 'SP001';
    END IF;

    SELECT array_agg(e.body ORDER BY e.version) INTO bodies
    FROM events e
    WHERE e.organisation = p_organisation AND e.stream = p_stream AND e.version > p_expected;

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
        ),
        array_agg(d.command_id) FILTER (
            WHERE d.command_hash <> p_command_hashes[array_position(p_command_ids, d.command_id)]
        )
    INTO held, conflicts
    FROM decisions d
    WHERE d.organisation = p_organisation AND d.stream = p_stream
        AND (
            d.version > p_expected
            OR (d.version = p_expected AND d.event_count = 0)
            OR d.command_id = ANY(p_command_ids)
        );
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
