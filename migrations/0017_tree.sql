-- The Merkle tree over each organisation's events (RFC 6962), as full tiles of 256 hashes (C2SP
-- tlog-tiles), and the signed checkpoints of it. All of it only grows.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- hashes: 256 of 32 bytes. At level 0 they are leaf hashes, the first that of position
-- number * 256 + 1; above, the roots of the 256 tiles below. root: over the hashes.
-- A tile that is not full is not here: it is read from the events, or from the roots below.
CREATE TABLE tree_tiles (
    organisation text NOT NULL,
    level integer NOT NULL CHECK (level BETWEEN 0 AND 7),
    number bigint NOT NULL CHECK (number >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (organisation, level, number)
);
ALTER TABLE tree_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL; -- hashes do not compress

-- note: the signed checkpoint (C2SP tlog-checkpoint) of the tree over positions 1 to size.
CREATE TABLE checkpoints (
    organisation text NOT NULL,
    size bigint NOT NULL CHECK (size > 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    note text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, size)
);

-- What a time-stamping authority said of a checkpoint's note: its whole answer (RFC 3161).
CREATE TABLE timestamps (
    organisation text NOT NULL,
    size bigint NOT NULL,
    authority text NOT NULL,
    answer bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, size, authority)
);

DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['tree_tiles', 'checkpoints', 'timestamps'] LOOP
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
END
$$;

-- Add full tiles of one level, from number p_first on and without a gap. The same again is as good.
-- SP004: another tile stands there, or there is a gap.
CREATE FUNCTION record_tiles(
    p_organisation text, p_level integer, p_first bigint, p_roots bytea[], p_hashes bytea[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
BEGIN
    IF p_first > 0 AND NOT EXISTS (
        SELECT FROM tree_tiles t
        WHERE t.organisation = p_organisation AND t.level = p_level AND t.number = p_first - 1
    ) THEN
        RAISE EXCEPTION 'tile % of level % comes after a gap', p_first, p_level
            USING ERRCODE = 'SP004';
    END IF;
    INSERT INTO tree_tiles (organisation, level, number, root, hashes)
    SELECT p_organisation, p_level, p_first + u.ordinal - 1, u.root, u.hashes
    FROM unnest(p_roots, p_hashes) WITH ORDINALITY AS u(root, hashes, ordinal)
    ON CONFLICT DO NOTHING;
    IF EXISTS (
        SELECT FROM unnest(p_roots, p_hashes) WITH ORDINALITY AS u(root, hashes, ordinal)
        JOIN tree_tiles t ON t.organisation = p_organisation AND t.level = p_level
            AND t.number = p_first + u.ordinal - 1
        WHERE t.root <> u.root OR t.hashes <> u.hashes
    ) THEN
        RAISE EXCEPTION 'another tile stands at level %, from number % on', p_level, p_first
            USING ERRCODE = 'SP004';
    END IF;
END
$$;

-- Keep a signed checkpoint; the note that is kept for this size. One at a time, so that no two
-- makers can sign two pasts. SP004: a later one is kept, or another root, or the log is shorter.
CREATE FUNCTION record_checkpoint(p_organisation text, p_size bigint, p_root bytea, p_note text)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
DECLARE
    last checkpoints;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(p_organisation, 17));
    SELECT c.* INTO last FROM checkpoints c
    WHERE c.organisation = p_organisation ORDER BY c.size DESC LIMIT 1;
    IF last.size = p_size AND last.root = p_root THEN
        RETURN last.note;
    END IF;
    IF last.size >= p_size THEN
        RAISE EXCEPTION 'a checkpoint of % leaves is kept, so none of % can follow', last.size,
            p_size USING ERRCODE = 'SP004';
    END IF;
    IF NOT EXISTS (
        SELECT FROM heads h WHERE h.organisation = p_organisation AND h.position >= p_size
    ) THEN
        RAISE EXCEPTION 'the log has fewer than % events', p_size USING ERRCODE = 'SP004';
    END IF;
    INSERT INTO checkpoints (organisation, size, root, note)
    VALUES (p_organisation, p_size, p_root, p_note);
    RETURN p_note;
END
$$;

-- Keep an authority's answer for a checkpoint; its first stays.
CREATE FUNCTION record_timestamp(
    p_organisation text, p_size bigint, p_authority text, p_answer bytea
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    INSERT INTO timestamps (organisation, size, authority, answer)
    SELECT c.organisation, c.size, p_authority, p_answer FROM checkpoints c
    WHERE c.organisation = p_organisation AND c.size = p_size
    ON CONFLICT DO NOTHING;
$$;

GRANT SELECT ON tree_tiles, checkpoints, timestamps
TO standpipe_worker, standpipe_gateway, standpipe_auditor;
GRANT EXECUTE ON FUNCTION record_tiles, record_checkpoint, record_timestamp TO standpipe_worker;
