-- Requests that are done once (Idempotency-Key): what was asked, as a hash, and what was answered.
-- Nothing personal: neither the key nor the request itself is kept, and answers hold ids.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- A row without an answer is being worked on until its lease ends; then whoever sends the request
-- again goes on with it, because the gateway that had it is gone.
CREATE TABLE idempotency (
    organisation text NOT NULL,
    subject text NOT NULL,
    key bytea NOT NULL,
    request bytea NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    leased_until timestamptz NOT NULL,
    holder uuid NOT NULL,
    status integer,
    headers jsonb,
    body bytea,
    PRIMARY KEY (organisation, subject, key),
    CHECK ((status IS NULL) = (headers IS NULL)),
    CHECK ((status IS NULL) = (body IS NULL))
) WITH (fillfactor = 70);

CREATE INDEX idempotency_begun ON idempotency (begun_at);

-- Begin a request, or learn what became of it. outcome: `ours` (do it, then finish_request),
-- `answered`, `busy` (somebody does it, for `wait` seconds at most) or `other` (the key belongs to
-- another request).
CREATE FUNCTION begin_request(
    p_organisation text, p_subject text, p_key bytea, p_request bytea, p_holder uuid,
    p_lease interval,
    OUT outcome text, OUT wait integer, OUT status integer, OUT headers jsonb, OUT body bytea
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
DECLARE
    known idempotency;
BEGIN
    INSERT INTO idempotency AS i (organisation, subject, key, request, leased_until, holder)
    VALUES (
        p_organisation, p_subject, p_key, p_request, clock_timestamp() + p_lease, p_holder
    )
    ON CONFLICT ON CONSTRAINT idempotency_pkey DO NOTHING;
    IF NOT FOUND THEN
        UPDATE idempotency i SET leased_until = clock_timestamp() + p_lease, holder = p_holder
        WHERE i.organisation = p_organisation AND i.subject = p_subject AND i.key = p_key
            AND i.request = p_request AND i.status IS NULL
            AND i.leased_until <= clock_timestamp();
    END IF;
    IF FOUND THEN
        outcome := 'ours';
        RETURN;
    END IF;
    SELECT i.* INTO known FROM idempotency i
    WHERE i.organisation = p_organisation AND i.subject = p_subject AND i.key = p_key;
    IF known.request IS DISTINCT FROM p_request THEN
        outcome := 'other';
    ELSIF known.status IS NULL THEN
        outcome := 'busy';
        wait := greatest(1, ceil(extract(epoch FROM known.leased_until - clock_timestamp())));
    ELSE
        outcome := 'answered';
        status := known.status;
        headers := known.headers;
        body := known.body;
    END IF;
END
$$;

-- Keep a request's answer, and return the one that is kept: the first, if two worked on it.
CREATE FUNCTION finish_request(
    p_organisation text, p_subject text, p_key bytea, p_status integer, p_headers jsonb,
    p_body bytea,
    OUT status integer, OUT headers jsonb, OUT body bytea
)
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    UPDATE idempotency i
    SET status = coalesce(i.status, p_status), headers = coalesce(i.headers, p_headers),
        body = coalesce(i.body, p_body)
    WHERE i.organisation = p_organisation AND i.subject = p_subject AND i.key = p_key
    RETURNING i.status, i.headers, i.body;
$$;

-- Give a request back that came to no answer, so that the same one may be tried at once.
CREATE FUNCTION release_request(
    p_organisation text, p_subject text, p_key bytea, p_holder uuid
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    UPDATE idempotency i SET leased_until = '-infinity'
    WHERE i.organisation = p_organisation AND i.subject = p_subject AND i.key = p_key
        AND i.holder = p_holder AND i.status IS NULL;
$$;

-- Forget requests of before, so many at a time; returns how many. What they did is still done once:
-- the log knows the ids of their commands for ever.
CREATE FUNCTION forget_requests(p_before timestamptz, p_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    WITH old AS (
        SELECT i.organisation, i.subject, i.key FROM idempotency i
        WHERE i.begun_at < p_before ORDER BY i.begun_at LIMIT p_most FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM idempotency i USING old
        WHERE i.organisation = old.organisation AND i.subject = old.subject AND i.key = old.key
        RETURNING 1
    )
    SELECT count(*) FROM gone;
$$;

GRANT EXECUTE ON FUNCTION begin_request, finish_request, release_request, forget_requests
TO standpipe_gateway;
