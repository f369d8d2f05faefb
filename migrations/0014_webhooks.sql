-- Deliveries: who is told of events and messages, how far, and what could not be delivered.
-- A subscription reads the log by position, so nothing is written twice and nothing is missed; what
-- it has read is in `deliveries` until it is delivered or dead. A lane is what must keep its order:
-- a case, or a case's messages to one recipient.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- feed `events`: a webhook. feed `messages`: the outbox's recipients of these kinds, by whatever
-- the workers' settings name. types: null means all. wrapped_key: the signing secret under the
-- vault's key. position: up to here the log was read. failing_since: no attempt has succeeded
-- since, and resume_at: before this time nothing is tried, then one at a time. leased_to: who alone
-- takes from it, until then by the server's own clock.
CREATE TABLE subscriptions (
    organisation text NOT NULL,
    id text NOT NULL,
    feed text NOT NULL CHECK (feed IN ('events', 'messages')),
    url text,
    types text[],
    key_id text,
    wrapped_key bytea,
    active boolean NOT NULL DEFAULT true,
    ended text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by text NOT NULL,
    position bigint NOT NULL,
    failing_since timestamptz,
    resume_at timestamptz,
    leased_to uuid,
    leased_until timestamptz,
    PRIMARY KEY (organisation, id),
    CHECK ((feed = 'events') = (url IS NOT NULL)),
    CHECK ((feed = 'events') = (wrapped_key IS NOT NULL)),
    CHECK ((feed = 'events') = (key_id IS NOT NULL)),
    CHECK (active = (ended IS NULL))
) WITH (fillfactor = 50);

-- due_since: from when on its receiver owed us an answer. by_hand: somebody asked for it again.
-- status: what the last attempt came to, in our own words. channel to text_hash: what was said to
-- somebody, never the text itself.
CREATE TABLE deliveries (
    organisation text NOT NULL,
    subscription text NOT NULL,
    position bigint NOT NULL,
    ordinal integer NOT NULL,
    stream text NOT NULL,
    lane text NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    due_since timestamptz NOT NULL,
    by_hand boolean NOT NULL DEFAULT false,
    ended_at timestamptz,
    status text,
    channel text,
    template text,
    language text,
    text_hash bytea,
    PRIMARY KEY (organisation, position, ordinal, subscription),
    CHECK ((state = 'waiting') = (ended_at IS NULL))
) WITH (fillfactor = 80);

CREATE INDEX deliveries_waiting ON deliveries (organisation, subscription, lane, position, ordinal)
WHERE state = 'waiting';
CREATE INDEX deliveries_dead ON deliveries (organisation, subscription, position, ordinal)
WHERE state = 'dead';
CREATE INDEX deliveries_past ON deliveries (organisation, subscription, ended_at)
WHERE state = 'delivered' AND template IS NULL;

-- Lanes in which something waits. failures: of the first in it, since the last success; failed_at:
-- the last of those that may be the receiver's as a whole.
CREATE TABLE lanes (
    organisation text NOT NULL,
    subscription text NOT NULL,
    lane text NOT NULL,
    next_at timestamptz NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    failed_at timestamptz,
    PRIMARY KEY (organisation, subscription, lane)
) WITH (fillfactor = 80);

CREATE INDEX lanes_due ON lanes (organisation, subscription, next_at);
CREATE INDEX lanes_failing ON lanes (organisation, subscription) WHERE failures > 0;

-- All but the secrets.
CREATE VIEW subscribers AS
SELECT s.organisation, s.id, s.feed, s.url, s.types, s.active, s.ended, s.created_at, s.created_by,
    s.position, s.failing_since, s.resume_at
FROM subscriptions s;

-- A new subscription; it begins after p_position, or where the log ends now. False if it is known.
CREATE FUNCTION add_subscription(
    p_organisation text, p_id text, p_feed text, p_url text, p_types text[], p_key_id text,
    p_wrapped_key bytea, p_created_by text, p_position bigint
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
BEGIN
    INSERT INTO subscriptions (
        organisation, id, feed, url, types, key_id, wrapped_key, created_by, position
    )
    VALUES (
        p_organisation, p_id, p_feed, p_url, p_types, p_key_id, p_wrapped_key, p_created_by,
        coalesce(
            p_position, (SELECT h.position FROM heads h WHERE h.organisation = p_organisation), 0
        )
    )
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- Change what is given; null leaves it, and '{*}' means all types. Switched on again, it goes on
-- where it stopped, at once.
CREATE FUNCTION change_subscription(
    p_organisation text, p_id text, p_url text, p_types text[], p_active boolean
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
BEGIN
    UPDATE subscriptions s
    SET url = coalesce(p_url, s.url),
        types = CASE WHEN p_types IS NULL THEN s.types ELSE nullif(p_types, '{*}') END,
        active = coalesce(p_active, s.active),
        ended = CASE
            WHEN coalesce(p_active, s.active) THEN NULL ELSE coalesce(s.ended, 'paused')
        END,
        failing_since = NULL, resume_at = NULL
    WHERE s.organisation = p_organisation AND s.id = p_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE lanes l SET next_at = clock_timestamp(), failures = 0
    WHERE l.organisation = p_organisation AND l.subscription = p_id AND l.failures > 0;
    -- So that nothing counts as late for the time in which it was not to be delivered.
    UPDATE deliveries d SET due_since = clock_timestamp()
    WHERE d.organisation = p_organisation AND d.subscription = p_id AND d.state = 'waiting'
        AND p_active;
    RETURN true;
END
$$;

-- A subscription with all that waits for it, for good.
CREATE FUNCTION remove_subscription(p_organisation text, p_id text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
BEGIN
    DELETE FROM subscriptions s WHERE s.organisation = p_organisation AND s.id = p_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM lanes l WHERE l.organisation = p_organisation AND l.subscription = p_id;
    DELETE FROM deliveries d WHERE d.organisation = p_organisation AND d.subscription = p_id;
    RETURN true;
END
$$;

-- What signs a subscription's deliveries. sealed_to is there for the vault's own way of unwrapping.
CREATE FUNCTION subscription_secret(p_organisation text, p_id text)
RETURNS TABLE (url text, key_id text, wrapped_key bytea, sealed_to text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    SELECT s.url, s.key_id, s.wrapped_key, NULL::text[]
    FROM subscriptions s
    WHERE s.organisation = p_organisation AND s.id = p_id AND s.feed = 'events';
$$;

-- Read on in the log, and tell what is to be tried now: of at most p_room lanes that are not busy
-- already, the next few of each, in order. While a receiver fails, one lane at a time. Only one
-- taker gets anything: another must wait until 20 seconds after the last call of the former.
CREATE FUNCTION take_deliveries(
    p_organisation text, p_subscription text, p_taker uuid, p_now timestamptz, p_room integer,
    p_busy text[]
) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
DECLARE
    sub subscriptions;
    head bigint;
    due json;
    -- So much waits here at most; the rest waits in the log.
    room CONSTANT integer := 2000;
    stride CONSTANT integer := 1000;
BEGIN
    SELECT s.* INTO sub FROM subscriptions s
    WHERE s.organisation = p_organisation AND s.id = p_subscription
    FOR NO KEY UPDATE;
    IF NOT FOUND OR NOT sub.active THEN
        RETURN json_build_object('active', false);
    END IF;
    IF sub.leased_to <> p_taker AND sub.leased_until > clock_timestamp() THEN
        RETURN json_build_object('active', true);
    END IF;
    IF sub.leased_to IS DISTINCT FROM p_taker
        OR sub.leased_until < clock_timestamp() + interval '10 seconds'
    THEN
        UPDATE subscriptions s
        SET leased_to = p_taker, leased_until = clock_timestamp() + interval '20 seconds'
        WHERE s.organisation = p_organisation AND s.id = p_subscription;
    END IF;
    IF sub.resume_at > p_now OR (sub.resume_at IS NOT NULL AND cardinality(p_busy) > 0) THEN
        RETURN json_build_object(
            'active', true, 'url', sub.url, 'paused_until', greatest(sub.resume_at, p_now)
        );
    END IF;

    SELECT h.position INTO head FROM heads h WHERE h.organisation = p_organisation;
    IF head > sub.position AND room > (
        SELECT count(*) FROM (
            SELECT FROM deliveries d
            WHERE d.organisation = p_organisation AND d.subscription = p_subscription
                AND d.state = 'waiting'
            LIMIT room
        ) w
    ) THEN
        head := least(head, sub.position + stride);
        WITH read AS (
            SELECT e.position, 0 AS ordinal, e.stream, e.stream AS lane, e.recorded_at
            FROM events e
            WHERE sub.feed = 'events' AND e.organisation = p_organisation
                AND e.position > sub.position AND e.position <= head
                AND (
                    sub.types IS NULL
                    OR split_part(e.stream, '-', 1) || '.' || e.type = ANY(sub.types)
                    OR split_part(e.stream, '-', 1) || '.*' = ANY(sub.types)
                )
            UNION ALL
            SELECT o.position, o.ordinal, o.stream, o.stream || '/' || o.recipient, e.recorded_at
            FROM outbox o
            JOIN events e USING (organisation, position)
            WHERE sub.feed = 'messages' AND o.organisation = p_organisation
                AND o.position > sub.position AND o.position <= head
                AND (sub.types IS NULL OR o.recipient_kind = ANY(sub.types))
        ), queued AS (
            INSERT INTO deliveries (
                organisation, subscription, position, ordinal, stream, lane, due_since
            )
            SELECT p_organisation, p_subscription, r.position, r.ordinal, r.stream, r.lane,
                CASE
                    WHEN sub.failing_since IS NULL THEN p_now
                    ELSE least(p_now, greatest(r.recorded_at, sub.failing_since))
                END
            FROM read r
            ON CONFLICT DO NOTHING
            RETURNING lane
        )
        INSERT INTO lanes (organisation, subscription, lane, next_at)
        SELECT DISTINCT p_organisation, p_subscription, q.lane, p_now FROM queued q
        ON CONFLICT DO NOTHING;
        UPDATE subscriptions s SET position = head
        WHERE s.organisation = p_organisation AND s.id = p_subscription;
    END IF;

    SELECT coalesce(json_agg(json_build_object(
        'position', d.position, 'ordinal', d.ordinal, 'lane', d.lane, 'attempts', d.attempts,
        'by_hand', d.by_hand,
        'event', json_build_object(
            'position', e.position, 'stream', e.stream, 'version', e.version,
            'event_id', e.event_id, 'type', e.type, 'schema_version', e.schema_version,
            'occurred_at', e.occurred_at, 'decided_at', c.decided_at,
            'recorded_at', e.recorded_at, 'command_id', e.command_id,
            'actor', json_build_object('subject', c.actor, 'role', c.role, 'proof', c.proof),
            'body', convert_from(e.body, 'UTF8')::json
        ),
        'message', CASE WHEN o.organisation IS NOT NULL THEN json_build_object(
            'to', o.recipient_kind, 'recipient', o.recipient, 'template', o.template,
            'params', o.params
        ) END
    ) ORDER BY l.next_at, d.lane, d.position, d.ordinal), json_build_array())
    INTO due
    FROM (
        SELECT l.lane, l.next_at FROM lanes l
        WHERE l.organisation = p_organisation AND l.subscription = p_subscription
            AND l.next_at <= p_now AND l.lane <> ALL(p_busy)
        ORDER BY l.next_at, l.lane
        LIMIT CASE WHEN sub.resume_at IS NULL THEN p_room ELSE least(p_room, 1) END
    ) l
    CROSS JOIN LATERAL (
        SELECT d.* FROM deliveries d
        WHERE d.organisation = p_organisation AND d.subscription = p_subscription
            AND d.lane = l.lane AND d.state = 'waiting'
        ORDER BY d.position, d.ordinal
        LIMIT CASE WHEN sub.resume_at IS NULL THEN 20 ELSE 1 END
    ) d
    JOIN events e ON e.organisation = d.organisation AND e.position = d.position
    JOIN decisions c
        ON c.organisation = e.organisation AND c.stream = e.stream AND c.command_id = e.command_id
    LEFT JOIN outbox o
        ON sub.feed = 'messages' AND o.organisation = d.organisation
        AND o.position = d.position AND o.ordinal = d.ordinal;
    RETURN json_build_object('active', true, 'url', sub.url, 'due', due);
END
$$;

-- What became of an attempt. p_outcome: delivered; failed (tried again, or dead once it has been
-- due for p_patience and was tried three times); refused (the same, but the receiver answers and
-- has something against this one); dead (it can't be delivered at all); gone (the receiver wants no
-- more). p_first and p_longest bound how long the next attempt waits; p_wait is what the receiver
-- asked for. p_said: {channel, template, language, hash}. Returns the delivery's state; null if it
-- was not waiting any more, or if no more is to be delivered.
CREATE FUNCTION record_delivery(
    p_organisation text, p_subscription text, p_position bigint, p_ordinal integer,
    p_outcome text, p_status text, p_now timestamptz, p_patience interval, p_first interval,
    p_longest interval, p_wait interval, p_said jsonb
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
DECLARE
    sub subscriptions;
    this deliveries;
    became text;
BEGIN
    SELECT s.* INTO sub FROM subscriptions s
    WHERE s.organisation = p_organisation AND s.id = p_subscription
    FOR NO KEY UPDATE;
    UPDATE deliveries d
    SET attempts = d.attempts + 1,
        status = p_status,
        state = CASE
            WHEN p_outcome IN ('delivered', 'dead') THEN p_outcome
            WHEN p_outcome IN ('failed', 'refused') AND d.due_since <= p_now - p_patience
                AND d.attempts >= 2
            THEN 'dead'
            ELSE 'waiting'
        END,
        ended_at = CASE
            WHEN p_outcome IN ('delivered', 'dead')
                OR (
                    p_outcome IN ('failed', 'refused') AND d.due_since <= p_now - p_patience
                    AND d.attempts >= 2
                )
            THEN p_now
        END,
        channel = p_said ->> 'channel',
        template = p_said ->> 'template',
        language = p_said ->> 'language',
        text_hash = decode(p_said ->> 'hash', 'hex')
    WHERE d.organisation = p_organisation AND d.subscription = p_subscription
        AND d.position = p_position AND d.ordinal = p_ordinal AND d.state = 'waiting'
    RETURNING d.* INTO this;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    became := this.state;

    IF p_outcome = 'gone' THEN
        UPDATE subscriptions s SET active = false, ended = 'gone'
        WHERE s.organisation = p_organisation AND s.id = p_subscription;
        RETURN NULL;
    END IF;

    IF p_outcome IN ('failed', 'refused') THEN
        UPDATE lanes l
        SET failures = l.failures + 1,
            failed_at = CASE
                -- Whoever comes to record it second may have looked at the clock first.
                WHEN p_outcome = 'failed' THEN greatest(p_now, sub.failing_since)
                ELSE l.failed_at
            END,
            next_at = CASE
                WHEN became = 'dead' THEN p_now
                ELSE p_now + greatest(p_wait, least(
                    p_longest, p_first * power(2, least(this.attempts - 1, 30))
                ) * (0.9 + 0.2 * random()))
            END
        WHERE l.organisation = p_organisation AND l.subscription = p_subscription
            AND l.lane = this.lane;
    END IF;
    IF p_outcome = 'failed' THEN
        -- Where nothing goes through any more, or the receiver asks for it, everything waits.
        UPDATE subscriptions s
        SET failing_since = coalesce(s.failing_since, p_now),
            resume_at = CASE
                WHEN p_wait IS NOT NULL THEN p_now + p_wait
                WHEN s.resume_at IS NOT NULL OR 3 <= (
                    SELECT count(*) FROM (
                        SELECT FROM lanes l
                        WHERE l.organisation = p_organisation
                            AND l.subscription = p_subscription AND l.failures > 0
                            AND l.failed_at >= coalesce(s.failing_since, p_now)
                        LIMIT 3
                    ) f
                ) THEN p_now + least(
                    p_longest, interval '10 minutes',
                    greatest(p_first, (p_now - coalesce(s.failing_since, p_now)) / 4)
                )
            END
        WHERE s.organisation = p_organisation AND s.id = p_subscription
        RETURNING s.* INTO sub;
        IF sub.resume_at IS NOT NULL AND sub.failing_since <= p_now - p_patience THEN
            UPDATE deliveries d
            SET state = 'dead', ended_at = p_now, status = coalesce(d.status, p_status)
            WHERE d.organisation = p_organisation AND d.subscription = p_subscription
                AND d.state = 'waiting' AND d.due_since <= p_now - p_patience;
            DELETE FROM lanes l
            WHERE l.organisation = p_organisation AND l.subscription = p_subscription
                AND NOT EXISTS (
                    SELECT FROM deliveries d
                    WHERE d.organisation = l.organisation AND d.subscription = l.subscription
                        AND d.lane = l.lane AND d.state = 'waiting'
                );
        END IF;
    ELSIF became = 'delivered' THEN
        UPDATE lanes l SET failures = 0, next_at = p_now
        WHERE l.organisation = p_organisation AND l.subscription = p_subscription
            AND l.lane = this.lane AND l.failures > 0;
        IF sub.failing_since IS NOT NULL THEN
            UPDATE subscriptions s SET failing_since = NULL, resume_at = NULL
            WHERE s.organisation = p_organisation AND s.id = p_subscription;
        END IF;
        IF sub.resume_at IS NOT NULL THEN
            -- The receiver is back: nobody waits for an hour that was meant for its absence.
            UPDATE lanes l SET next_at = p_now
            WHERE l.organisation = p_organisation AND l.subscription = p_subscription
                AND l.next_at > p_now;
        END IF;
    END IF;

    IF became <> 'waiting' THEN
        UPDATE lanes l SET failures = 0
        WHERE l.organisation = p_organisation AND l.subscription = p_subscription
            AND l.lane = this.lane AND l.failures > 0;
        DELETE FROM lanes l
        WHERE l.organisation = p_organisation AND l.subscription = p_subscription
            AND l.lane = this.lane AND NOT EXISTS (
                SELECT FROM deliveries d
                WHERE d.organisation = p_organisation AND d.subscription = p_subscription
                    AND d.lane = this.lane AND d.state = 'waiting'
            );
    END IF;
    RETURN CASE WHEN sub.active THEN became END;
END
$$;

-- Try again, at once, what is dead: of one subscription, case or place in the log, where these are
-- given. A message from before anybody delivered messages is taken up by its place. Returns whom to
-- wake, and how many each.
CREATE FUNCTION redrive_deliveries(
    p_organisation text, p_subscription text, p_stream text, p_position bigint, p_ordinal integer
) RETURNS TABLE (subscription text, redriven bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    now_driven CONSTANT timestamptz := clock_timestamp();
BEGIN
    -- In the order in which everybody locks: subscriptions first.
    PERFORM FROM subscriptions s
    WHERE s.organisation = p_organisation AND (p_subscription IS NULL OR s.id = p_subscription)
    ORDER BY s.id
    FOR NO KEY UPDATE;
    RETURN QUERY
    WITH again AS (
        UPDATE deliveries d
        SET state = 'waiting', ended_at = NULL, attempts = 0, due_since = now_driven,
            by_hand = true
        WHERE d.organisation = p_organisation AND d.state = 'dead'
            AND (p_subscription IS NULL OR d.subscription = p_subscription)
            AND (p_stream IS NULL OR d.stream = p_stream)
            AND (p_position IS NULL OR d.position = p_position)
            AND (p_ordinal IS NULL OR d.ordinal = p_ordinal)
        RETURNING d.subscription, d.lane
    ), first AS (
        INSERT INTO deliveries (
            organisation, subscription, position, ordinal, stream, lane, due_since, by_hand
        )
        SELECT p_organisation, s.id, o.position, o.ordinal, o.stream,
            o.stream || '/' || o.recipient, now_driven, true
        FROM outbox o
        JOIN subscriptions s ON s.organisation = o.organisation AND s.feed = 'messages'
            AND (s.types IS NULL OR o.recipient_kind = ANY(s.types))
            AND o.position <= s.position
        WHERE o.organisation = p_organisation AND o.position = p_position
            AND (p_ordinal IS NULL OR o.ordinal = p_ordinal)
            AND (p_subscription IS NULL OR s.id = p_subscription)
            AND (p_stream IS NULL OR o.stream = p_stream)
        ON CONFLICT DO NOTHING
        RETURNING subscription, lane
    ), every AS (
        SELECT * FROM again UNION ALL SELECT * FROM first
    ), opened AS (
        INSERT INTO lanes AS l (organisation, subscription, lane, next_at)
        SELECT DISTINCT p_organisation, e.subscription, e.lane, now_driven FROM every e
        ON CONFLICT (organisation, subscription, lane) DO UPDATE
            SET next_at = excluded.next_at, failures = 0
        RETURNING l.subscription
    ), woken AS (
        UPDATE subscriptions s SET resume_at = NULL
        WHERE s.organisation = p_organisation AND s.id IN (SELECT o.subscription FROM opened o)
    )
    SELECT e.subscription, count(*) FROM every e GROUP BY e.subscription ORDER BY 1;
END
$$;

-- Let another taker in at once.
CREATE FUNCTION release_deliveries(p_organisation text, p_subscription text, p_taker uuid)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    UPDATE subscriptions s SET leased_to = NULL, leased_until = NULL
    WHERE s.organisation = p_organisation AND s.id = p_subscription AND s.leased_to = p_taker;
$$;

-- Forget events that were delivered long ago. What was said to people stays on record.
CREATE FUNCTION prune_deliveries(p_organisation text, p_subscription text, p_before timestamptz)
RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    WITH old AS (
        DELETE FROM deliveries d
        USING (
            SELECT w.position, w.ordinal FROM deliveries w
            WHERE w.organisation = p_organisation AND w.subscription = p_subscription
                AND w.state = 'delivered' AND w.ended_at < p_before AND w.template IS NULL
            ORDER BY w.ended_at
            LIMIT 10000
        ) o
        WHERE d.organisation = p_organisation AND d.subscription = p_subscription
            AND d.position = o.position AND d.ordinal = o.ordinal
        RETURNING 1
    )
    SELECT count(*) FROM old;
$$;

GRANT SELECT ON subscribers, deliveries TO standpipe_worker, standpipe_gateway, standpipe_auditor;
GRANT EXECUTE ON FUNCTION
    add_subscription, change_subscription, remove_subscription, subscription_secret,
    redrive_deliveries
TO standpipe_worker, standpipe_gateway;
GRANT EXECUTE ON FUNCTION
    take_deliveries, record_delivery, release_deliveries, prune_deliveries
TO standpipe_worker;
