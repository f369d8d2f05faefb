-- Parties sealed to roles, such as informants (WAT-2.5), and a record of who looked at them.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- sealed_to: the roles that may read the party and its notes; null: open to whoever may read the
-- vault. It is set once, with the party's key, whose wrapping it is bound to: with another list in
-- this column the key does not unwrap.
ALTER TABLE parties
    ADD COLUMN sealed_to text[],
    ADD CHECK (cardinality(sealed_to) > 0);

-- Every reading of a sealed party, granted or refused. Erasing the party leaves them.
-- Without a subject, nobody said who was reading.
CREATE TABLE vault_readings (
    organisation text NOT NULL,
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    party_id text NOT NULL,
    what text NOT NULL CHECK (what IN ('particulars', 'notes')),
    subject text,
    role text,
    proof text,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    granted boolean NOT NULL,
    PRIMARY KEY (organisation, number)
);

CREATE TRIGGER deny_statement BEFORE UPDATE OR DELETE OR TRUNCATE ON vault_readings
FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
CREATE TRIGGER deny_row BEFORE UPDATE OR DELETE ON vault_readings
FOR EACH ROW EXECUTE FUNCTION deny_change();
ALTER TABLE vault_readings ENABLE ALWAYS TRIGGER deny_statement;
ALTER TABLE vault_readings ENABLE ALWAYS TRIGGER deny_row;

-- Whether this reader may read a party; of a sealed one, that is kept. A refusal is an answer, not
-- an error, because an error would take back what was kept. Only the two below call it, on their
-- search path.
CREATE FUNCTION may_read(
    p_party parties, p_what text, p_subject text, p_role text, p_proof text
) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    may CONSTANT boolean := p_party.sealed_to IS NULL
        OR coalesce(p_role = ANY(p_party.sealed_to), false);
BEGIN
    IF p_party.sealed_to IS NOT NULL AND p_party.erased_at IS NULL THEN
        INSERT INTO vault_readings (organisation, party_id, what, subject, role, proof, granted)
        VALUES (
            p_party.organisation, p_party.party_id, p_what, p_subject, p_role, p_proof, may
        );
    END IF;
    RETURN may;
END
$$;

DROP FUNCTION read_party;
DROP FUNCTION read_party_notes;
DROP FUNCTION party_keys;
DROP FUNCTION put_parties;

-- As before, and to whom each is sealed.
CREATE FUNCTION party_keys(p_organisation text, p_party_ids text[])
RETURNS TABLE (
    party_id text, key_id text, wrapped_key bytea, sealed_to text[], erased_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    SELECT p.party_id, p.key_id, p.wrapped_key, p.sealed_to, p.erased_at
    FROM parties p WHERE p.organisation = p_organisation AND p.party_id = ANY(p_party_ids);
$$;

-- As before, but new ones are sealed to these roles. A known one stays as it is sealed.
CREATE FUNCTION put_parties(
    p_organisation text, p_party_ids text[], p_key_ids text[], p_wrapped_keys bytea[],
    p_sealed bytea[], p_sealed_to text[] DEFAULT NULL
) RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    INSERT INTO parties AS known (
        organisation, party_id, key_id, wrapped_key, sealed, sealed_to
    )
    SELECT p_organisation, u.party_id, u.key_id, u.wrapped_key, u.sealed, p_sealed_to
    FROM unnest(p_party_ids, p_key_ids, p_wrapped_keys, p_sealed)
        AS u(party_id, key_id, wrapped_key, sealed)
    ORDER BY u.party_id  -- always locked in the same order
    ON CONFLICT (organisation, party_id) DO UPDATE
        SET sealed = excluded.sealed, written_at = clock_timestamp()
        WHERE known.wrapped_key = excluded.wrapped_key
    RETURNING party_id;
$$;

-- A party's particulars, for one reader, who may be nobody; no row if there is no such party.
CREATE FUNCTION read_party(
    p_organisation text, p_party_id text, p_subject text, p_role text, p_proof text
)
RETURNS TABLE (
    granted boolean, key_id text, wrapped_key bytea, sealed_to text[], erased_at timestamptz,
    sealed bytea
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
DECLARE
    party parties;
BEGIN
    SELECT p.* INTO party FROM parties p
    WHERE p.organisation = p_organisation AND p.party_id = p_party_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    granted := may_read(party, 'particulars', p_subject, p_role, p_proof);
    key_id := party.key_id;
    wrapped_key := party.wrapped_key;
    sealed_to := party.sealed_to;
    erased_at := party.erased_at;
    sealed := CASE WHEN granted THEN party.sealed END;
    RETURN NEXT;
END
$$;

-- The same with a row for each of its notes: one without a note if it has none, or if refused.
CREATE FUNCTION read_party_notes(
    p_organisation text, p_party_id text, p_subject text, p_role text, p_proof text
)
RETURNS TABLE (
    granted boolean, key_id text, wrapped_key bytea, sealed_to text[], erased_at timestamptz,
    note_id uuid, sealed bytea, written_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
DECLARE
    party parties;
    may boolean;
BEGIN
    SELECT p.* INTO party FROM parties p
    WHERE p.organisation = p_organisation AND p.party_id = p_party_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    may := may_read(party, 'notes', p_subject, p_role, p_proof);
    RETURN QUERY
    SELECT may, party.key_id, party.wrapped_key, party.sealed_to, party.erased_at, n.note_id,
        n.sealed, n.written_at
    FROM (SELECT) one
    LEFT JOIN party_notes n
        ON may AND n.organisation = p_organisation AND n.party_id = p_party_id
    ORDER BY n.written_at, n.note_id;
END
$$;

GRANT EXECUTE ON FUNCTION party_keys, put_parties, read_party, read_party_notes
TO standpipe_worker, standpipe_gateway;
GRANT SELECT ON vault_readings TO standpipe_auditor;
