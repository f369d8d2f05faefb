-- The vault: what is personal, encrypted before it gets here. Nobody may read these tables; the
-- functions give one party at a time. The key-encryption key is never in the database.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- wrapped_key: the party's own key under the key-encryption key that key_id names. sealed: the
-- particulars under the party's key. An erased party keeps its name and the time, nothing else.
CREATE TABLE parties (
    organisation text NOT NULL,
    party_id text NOT NULL,
    key_id text,
    wrapped_key bytea,
    sealed bytea,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    erased_at timestamptz,
    PRIMARY KEY (organisation, party_id),
    CHECK ((erased_at IS NULL) = (key_id IS NOT NULL)),
    CHECK ((erased_at IS NULL) = (wrapped_key IS NOT NULL)),
    CHECK ((erased_at IS NULL) = (sealed IS NOT NULL))
);

-- Remarks made later, each sealed under its party's key.
CREATE TABLE party_notes (
    organisation text NOT NULL,
    party_id text NOT NULL,
    note_id uuid NOT NULL,
    sealed bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, party_id, note_id),
    FOREIGN KEY (organisation, party_id) REFERENCES parties
);

-- The keys of parties that exist, none of their particulars.
CREATE FUNCTION party_keys(p_organisation text, p_party_ids text[])
RETURNS TABLE (party_id text, key_id text, wrapped_key bytea, erased_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    SELECT p.party_id, p.key_id, p.wrapped_key, p.erased_at
    FROM parties p WHERE p.organisation = p_organisation AND p.party_id = ANY(p_party_ids);
$$;

CREATE FUNCTION read_party(p_organisation text, p_party_id text)
RETURNS TABLE (key_id text, wrapped_key bytea, sealed bytea, erased_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    SELECT p.key_id, p.wrapped_key, p.sealed, p.erased_at
    FROM parties p WHERE p.organisation = p_organisation AND p.party_id = p_party_id;
$$;

-- Write parties, new or known. A known one is written only under the key that it has, because its
-- notes are sealed with that; an erased one has none. Returns whom it wrote.
CREATE FUNCTION put_parties(
    p_organisation text, p_party_ids text[], p_key_ids text[], p_wrapped_keys bytea[],
    p_sealed bytea[]
) RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    INSERT INTO parties AS known (organisation, party_id, key_id, wrapped_key, sealed)
    SELECT p_organisation, u.party_id, u.key_id, u.wrapped_key, u.sealed
    FROM unnest(p_party_ids, p_key_ids, p_wrapped_keys, p_sealed)
        AS u(party_id, key_id, wrapped_key, sealed)
    ORDER BY u.party_id  -- always locked in the same order
    ON CONFLICT (organisation, party_id) DO UPDATE
        SET sealed = excluded.sealed, written_at = clock_timestamp()
        WHERE known.wrapped_key = excluded.wrapped_key
    RETURNING party_id;
$$;

-- Add a note to a party that is not erased; false if there is none. The same note again is as good.
CREATE FUNCTION add_party_note(
    p_organisation text, p_party_id text, p_wrapped_key bytea, p_note_id uuid, p_sealed bytea
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
BEGIN
    PERFORM FROM parties p
    WHERE p.organisation = p_organisation AND p.party_id = p_party_id
        AND p.wrapped_key = p_wrapped_key
    FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO party_notes (organisation, party_id, note_id, sealed)
    VALUES (p_organisation, p_party_id, p_note_id, p_sealed)
    ON CONFLICT DO NOTHING;
    RETURN true;
END
$$;

CREATE FUNCTION read_party_notes(p_organisation text, p_party_id text)
RETURNS TABLE (note_id uuid, sealed bytea, written_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    SELECT n.note_id, n.sealed, n.written_at
    FROM party_notes n WHERE n.organisation = p_organisation AND n.party_id = p_party_id
    ORDER BY n.written_at, n.note_id;
$$;

-- Destroy the party's key and everything sealed with it. Returns when it was erased, now or before;
-- null if nobody knows the party.
CREATE FUNCTION erase_party(p_organisation text, p_party_id text) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
DECLARE
    erased timestamptz;
BEGIN
    UPDATE parties p
    SET key_id = NULL, wrapped_key = NULL, sealed = NULL,
        erased_at = coalesce(p.erased_at, clock_timestamp())
    WHERE p.organisation = p_organisation AND p.party_id = p_party_id
    RETURNING p.erased_at INTO erased;
    DELETE FROM party_notes n
    WHERE n.organisation = p_organisation AND n.party_id = p_party_id;
    RETURN erased;
END
$$;

GRANT EXECUTE ON FUNCTION
    party_keys, read_party, put_parties, add_party_note, read_party_notes, erase_party
TO standpipe_worker, standpipe_gateway;
