-- Whose key signs decisions, until when, and which signatures were used.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- A key is one person's for ever: it is enrolled once, and can only be reported lost.
CREATE TABLE signing_keys (
    organisation text NOT NULL,
    key text NOT NULL -- Ed25519, base64url; four bits in the last character: there is one spelling
        CHECK (key ~ '^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$'),
    subject text NOT NULL,
    enrolled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    enrolled_by text NOT NULL,
    valid_until timestamptz NOT NULL, -- WAT-F25b: changed at least every six months
    lost_at timestamptz, -- when it was reported lost
    lost_by text,
    PRIMARY KEY (organisation, key),
    CHECK ((lost_at IS NULL) = (lost_by IS NULL))
);
CREATE INDEX signing_keys_subject ON signing_keys (organisation, lower(subject));

-- A nonce is good for one command of one case.
CREATE TABLE signature_nonces (
    organisation text NOT NULL,
    nonce text NOT NULL,
    stream text NOT NULL,
    command_id text NOT NULL,
    used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, nonce)
);

-- Neither changes behind these functions; what a key was when it signed must stay known.
CREATE TRIGGER deny_statement BEFORE DELETE OR TRUNCATE ON signing_keys
FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
ALTER TABLE signing_keys ENABLE ALWAYS TRIGGER deny_statement;
CREATE TRIGGER deny_statement BEFORE UPDATE OR DELETE OR TRUNCATE ON signature_nonces
FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
ALTER TABLE signature_nonces ENABLE ALWAYS TRIGGER deny_statement;

-- Whether the key is that subject's now: false where it was somebody's already, or this one's.
CREATE FUNCTION enrol_key(
    p_organisation text, p_key text, p_subject text, p_by text, p_months integer
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
BEGIN
    IF p_months NOT BETWEEN 1 AND 6 THEN
        RAISE EXCEPTION 'a key is valid for one to six months (WAT-F25b)' USING ERRCODE = 'SP004';
    END IF;
    IF lower(p_by) = lower(p_subject) THEN
        RAISE EXCEPTION 'nobody enrols their own key' USING ERRCODE = 'SP004';
    END IF;
    INSERT INTO signing_keys (organisation, key, subject, enrolled_by, valid_until)
    VALUES (
        p_organisation, p_key, p_subject, p_by, clock_timestamp() + make_interval(months => p_months)
    )
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- Whether there was such a key that nobody had reported.
CREATE FUNCTION lose_key(p_organisation text, p_key text, p_by text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
BEGIN
    UPDATE signing_keys SET lost_at = clock_timestamp(), lost_by = p_by
    WHERE organisation = p_organisation AND key = p_key AND lost_at IS NULL;
    RETURN FOUND;
END
$$;

-- Whether the nonce is this command's: unused until now, or used by it before.
CREATE FUNCTION use_nonce(p_organisation text, p_nonce text, p_stream text, p_command_id text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
BEGIN
    INSERT INTO signature_nonces (organisation, nonce, stream, command_id)
    VALUES (p_organisation, p_nonce, p_stream, p_command_id)
    ON CONFLICT DO NOTHING;
    RETURN EXISTS (
        SELECT FROM signature_nonces n
        WHERE n.organisation = p_organisation AND n.nonce = p_nonce AND n.stream = p_stream
            AND n.command_id = p_command_id
    );
END
$$;

GRANT SELECT ON signing_keys TO standpipe_worker, standpipe_gateway, standpipe_auditor;
GRANT SELECT ON signature_nonces TO standpipe_auditor;
-- Workers verify; who may enrol a key is for the gateway, or a maintainer, to say.
GRANT EXECUTE ON FUNCTION enrol_key, lose_key TO standpipe_gateway;
GRANT EXECUTE ON FUNCTION use_nonce TO standpipe_worker, standpipe_gateway;
