-- The archive: what Temporal knows of each run of a case, kept beside the log for ever, because the
-- server deletes it some time after the run has ended. Its hash is in the log (HistoryArchived).
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- sha256: of the history as binary protobuf, which content holds compressed with gzip. events: how
-- many the history has. build_id and sdk: what the run ended under, as the history says; lock: the
-- SHA-256, in hex, of the lock file that the archiving worker was installed from. original: false
-- where the server had deleted the run's own, and a run that only read the log stands in for it.
-- register: the case whose event HistoryArchived, of the command archive/<run_id>, tells the hash.
-- version: the case's that the run came to, by what its appends answered.
CREATE TABLE histories (
    organisation text NOT NULL,
    stream text NOT NULL,
    run_id text NOT NULL,
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    content bytea NOT NULL,
    events integer NOT NULL,
    build_id text,
    sdk text NOT NULL,
    lock text,
    original boolean NOT NULL,
    register text NOT NULL,
    version integer NOT NULL,
    closed_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, stream, run_id)
);
ALTER TABLE histories ALTER COLUMN content SET STORAGE EXTERNAL; -- it is compressed already

CREATE TRIGGER deny_statement BEFORE UPDATE OR DELETE OR TRUNCATE ON histories
FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
CREATE TRIGGER deny_row BEFORE UPDATE OR DELETE ON histories
FOR EACH ROW EXECUTE FUNCTION deny_change();
ALTER TABLE histories ENABLE ALWAYS TRIGGER deny_statement;
ALTER TABLE histories ENABLE ALWAYS TRIGGER deny_row;

-- Where a run was entered, whichever month's register that is in.
CREATE INDEX events_archived ON events (organisation, command_id) WHERE type = 'HistoryArchived';

-- How far an archiver has read: the log by position, and Temporal's list of closed runs by time.
CREATE TABLE archivers (
    organisation text PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0,
    swept_until timestamptz
) WITH (fillfactor = 50);

-- What it has yet to archive. run_id '': whatever run the case ended in, at this version.
CREATE TABLE archiving (
    organisation text NOT NULL,
    stream text NOT NULL,
    run_id text NOT NULL,
    version integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL,
    PRIMARY KEY (organisation, stream, run_id)
) WITH (fillfactor = 70);

CREATE INDEX archiving_due ON archiving (organisation, next_at);

-- Read the log on, p_most events at a time, for cases that have ended; they are due after p_wait,
-- when their runs will have ended, too. Returns whether there is more to read.
CREATE FUNCTION find_ended(p_organisation text, p_most integer, p_wait interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
DECLARE
    read_until bigint;
    head bigint;
    upto bigint;
BEGIN
    SELECT h.position INTO head FROM heads h WHERE h.organisation = p_organisation;
    INSERT INTO archivers (organisation) VALUES (p_organisation) ON CONFLICT DO NOTHING;
    SELECT a.position INTO read_until FROM archivers a
    WHERE a.organisation = p_organisation AND a.position < head
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    upto := least(head, read_until + p_most);
    INSERT INTO archiving AS a (organisation, stream, run_id, version, next_at)
    SELECT p_organisation, c.case_id, '', c.version, clock_timestamp() + p_wait
    FROM (
        SELECT DISTINCT e.stream FROM events e
        WHERE e.organisation = p_organisation AND e.position > read_until AND e.position <= upto
    ) e
    JOIN cases c ON c.organisation = p_organisation AND c.case_id = e.stream AND c.final
    ON CONFLICT (organisation, stream, run_id) DO UPDATE
        SET version = greatest(a.version, excluded.version);
    UPDATE archivers a SET position = upto WHERE a.organisation = p_organisation;
    RETURN upto < head;
END
$$;

-- Note down closed runs, side by side, unless they are archived or of no case in the log.
CREATE FUNCTION queue_runs(p_organisation text, p_streams text[], p_run_ids text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    INSERT INTO archiving (organisation, stream, run_id, next_at)
    SELECT p_organisation, u.stream, u.run_id, clock_timestamp()
    FROM unnest(p_streams, p_run_ids) AS u(stream, run_id)
    WHERE EXISTS (
        SELECT FROM streams s WHERE s.organisation = p_organisation AND s.stream = u.stream
    ) AND NOT EXISTS (
        SELECT FROM histories h
        WHERE h.organisation = p_organisation AND h.stream = u.stream AND h.run_id = u.run_id
    )
    ORDER BY u.stream, u.run_id
    ON CONFLICT DO NOTHING;
$$;

-- Temporal's list of closed runs was read up to that time.
CREATE FUNCTION swept_runs(p_organisation text, p_until timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    UPDATE archivers a SET swept_until = greatest(a.swept_until, p_until)
    WHERE a.organisation = p_organisation;
$$;

-- A run is done with: archived, or there is nothing to archive. With '', whatever was to be archived
-- of the case up to that version.
CREATE FUNCTION done_archiving(
    p_organisation text, p_stream text, p_run_id text, p_version integer
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    DELETE FROM archiving a
    WHERE a.organisation = p_organisation AND a.stream = p_stream AND a.run_id = p_run_id
        AND a.version <= p_version;
$$;

-- Try a run again later.
CREATE FUNCTION delay_archiving(
    p_organisation text, p_stream text, p_run_id text, p_wait interval
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    UPDATE archiving a SET attempts = a.attempts + 1, next_at = clock_timestamp() + p_wait
    WHERE a.organisation = p_organisation AND a.stream = p_stream AND a.run_id = p_run_id;
$$;

-- Keep a history. What is kept already stays; returns whether that is the same.
CREATE FUNCTION archive_history(
    p_organisation text, p_stream text, p_run_id text, p_sha256 bytea, p_content bytea,
    p_events integer, p_build_id text, p_sdk text, p_lock text, p_original boolean,
    p_register text, p_version integer, p_closed_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM events e
        WHERE e.organisation = p_organisation AND e.stream = p_register
            AND e.type = 'HistoryArchived'
            AND e.command_id IN (
                'archive/' || p_run_id,
                'archive/' || p_run_id || '/' || left(encode(p_sha256, 'hex'), 16)
            )
            AND convert_from(e.body, 'UTF8')::jsonb @> jsonb_build_object(
                'case', p_stream, 'run', p_run_id, 'sha256', encode(p_sha256, 'hex')
            )
    ) THEN
        RAISE EXCEPTION 'the log does not tell of this history' USING ERRCODE = 'SP005';
    END IF;
    INSERT INTO histories (
        organisation, stream, run_id, sha256, content, events, build_id, sdk, lock, original,
        register, version, closed_at
    )
    VALUES (
        p_organisation, p_stream, p_run_id, p_sha256, p_content, p_events, p_build_id, p_sdk,
        p_lock, p_original, p_register, p_version, p_closed_at
    )
    ON CONFLICT DO NOTHING;
    RETURN FOUND OR EXISTS (
        SELECT FROM histories h
        WHERE h.organisation = p_organisation AND h.stream = p_stream AND h.run_id = p_run_id
            AND h.sha256 = p_sha256
    );
END
$$;

-- As before, but the archive's registers are no work either.
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
    AND c.kind NOT IN ('premises', 'archive')
    AND (
        c.kind NOT IN ('conduct', 'satisfaction', 'assessment')
        OR w.waiting_since IS NOT NULL
        OR jsonb_path_exists(c.approvals, '$[*] ? (@.state == "requested")')
    )
ORDER BY c.priority DESC, w.waiting_since NULLS LAST, c.opened_at, c.case_id;

GRANT SELECT ON worklist, histories, archivers, archiving
TO standpipe_worker, standpipe_gateway, standpipe_auditor;
GRANT EXECUTE ON FUNCTION
    find_ended, queue_runs, swept_runs, done_archiving, delay_archiving, archive_history
TO standpipe_worker;
