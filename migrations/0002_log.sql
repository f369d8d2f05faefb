-- The log: one per organisation, append-only. Nothing here refers to another table by foreign key:
-- append_events is the only way in and writes all of it in one transaction.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- Where each organisation's log ends. Its row is locked last in every append.
CREATE TABLE heads (
    organisation text PRIMARY KEY,
    position bigint NOT NULL
) WITH (fillfactor = 10);

-- One case, one stream.
CREATE TABLE streams (
    organisation text NOT NULL,
    stream text NOT NULL,
    kind text NOT NULL,
    version integer NOT NULL,
    policy bytea NOT NULL,
    PRIMARY KEY (organisation, stream)
) WITH (fillfactor = 80);

-- A policy's canonical JSON, once, under its SHA-256.
CREATE TABLE policies (
    hash bytea PRIMARY KEY,
    content bytea NOT NULL,
    CHECK (hash = sha256(content))
);

-- A command that was carried out, by its exact canonical bytes; it may have caused no event.
-- version: the stream's after its last event. position: the log's after its last event.
CREATE TABLE decisions (
    organisation text NOT NULL,
    stream text NOT NULL,
    command_id text NOT NULL,
    command_hash bytea NOT NULL,
    command bytea NOT NULL,
    actor text NOT NULL,
    role text NOT NULL,
    proof text NOT NULL,
    decided_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    event_count integer NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (organisation, stream, command_id),
    CHECK (command_hash = sha256(command)),
    CHECK (command_id IS NOT DISTINCT FROM convert_from(command, 'UTF8')::jsonb ->> 'id'),
    CHECK (event_count >= 0)
);

-- What happened, by its exact canonical bytes. The header commits to the body, to the command and to
-- the columns that are not the log's own; its leaf in the organisation's Merkle tree (RFC 6962) has
-- the index position - 1.
CREATE TABLE events (
    organisation text NOT NULL,
    position bigint NOT NULL,
    stream text NOT NULL,
    version integer NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    schema_version integer NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    command_id text NOT NULL,
    header bytea NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (organisation, position),
    UNIQUE (organisation, stream, version)
);

-- Words to the outside, true because their event is: written with it, delivered later.
CREATE TABLE outbox (
    organisation text NOT NULL,
    position bigint NOT NULL,
    ordinal integer NOT NULL,
    id text NOT NULL GENERATED ALWAYS AS (event_id::text || '/' || ordinal::text) STORED,
    event_id uuid NOT NULL,
    stream text NOT NULL,
    recipient_kind text NOT NULL,
    recipient text NOT NULL,
    template text NOT NULL,
    params jsonb NOT NULL,
    state text NOT NULL DEFAULT 'waiting',
    PRIMARY KEY (organisation, position, ordinal)
);

-- Commands that came by signal and were refused: Temporal keeps none.
CREATE TABLE refusals (
    organisation text NOT NULL,
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    stream text NOT NULL,
    command_id text NOT NULL,
    command_type text NOT NULL,
    actor text NOT NULL,
    refused_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reasons text[] NOT NULL,
    PRIMARY KEY (organisation, number),
    UNIQUE (organisation, stream, command_id, refused_at)
);

CREATE FUNCTION deny_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is forbidden: the log only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'SP003';
END
$$;

-- ENABLE ALWAYS, so that not even session_replication_role gets round them. Statements are denied
-- even where they would touch no row; the row triggers are for replication, which has no statements.
DO $$
DECLARE
    kept text;
    name text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['policies', 'decisions', 'events', 'refusals', 'migrations'] LOOP
        EXECUTE format(
            'CREATE TRIGGER deny_statement BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
             FOR EACH STATEMENT EXECUTE FUNCTION deny_change()', kept
        );
        EXECUTE format(
            'CREATE TRIGGER deny_row BEFORE UPDATE OR DELETE ON %I
             FOR EACH ROW EXECUTE FUNCTION deny_change()', kept
        );
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER deny_statement', kept);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER deny_row', kept);
    END LOOP;
    -- These two move on with every append, but nothing ever leaves them.
    FOREACH kept IN ARRAY ARRAY['heads', 'streams'] LOOP
        EXECUTE format(
            'CREATE TRIGGER deny_statement BEFORE DELETE OR TRUNCATE ON %I
             FOR EACH STATEMENT EXECUTE FUNCTION deny_change()', kept
        );
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER deny_statement', kept);
    END LOOP;
END
$$;

-- For people: the same bytes as jsonb.
CREATE VIEW events_view AS
SELECT
    e.organisation, e.position, e.stream, e.version, e.event_id, e.type, e.schema_version,
    e.occurred_at, d.decided_at, e.recorded_at, d.actor, d.role, d.proof, e.command_id,
    convert_from(e.body, 'UTF8')::jsonb AS body,
    convert_from(e.header, 'UTF8')::jsonb AS header,
    encode(sha256('\x00'::bytea || e.header), 'hex') AS leaf_hash
FROM events e
JOIN decisions d USING (organisation, stream, command_id);

CREATE VIEW decisions_view AS
SELECT
    d.organisation, d.stream, d.command_id, d.actor, d.role, d.proof, d.decided_at, d.recorded_at,
    d.event_count, d.version, d.position,
    convert_from(d.command, 'UTF8')::jsonb AS command,
    encode(d.command_hash, 'hex') AS command_hash
FROM decisions d;

GRANT SELECT ON
    heads, streams, policies, decisions, events, outbox, refusals, events_view, decisions_view
TO standpipe_worker, standpipe_gateway, standpipe_auditor;
