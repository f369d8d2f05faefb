-- How often somebody did what is limited even across restarts and several gateways: counts by the
-- limit's name, good until a time. Nothing personal, and nothing that the log would need.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

CREATE TABLE rate_counts (
    name text PRIMARY KEY,
    count bigint NOT NULL,
    ends_at timestamptz NOT NULL
);

-- Count once more; a window that is over begins anew. The count, and when its window ends.
CREATE FUNCTION count_once(p_name text, p_window interval, p_amount integer)
RETURNS TABLE (count bigint, ends_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    DELETE FROM rate_counts
    WHERE name IN (
        SELECT c.name FROM rate_counts c
        WHERE c.ends_at < clock_timestamp() - interval '1 day' AND c.name <> p_name
        LIMIT 100
        FOR UPDATE SKIP LOCKED
    );
    INSERT INTO rate_counts AS c (name, count, ends_at)
    VALUES (p_name, p_amount, clock_timestamp() + p_window)
    ON CONFLICT (name) DO UPDATE SET
        count = excluded.count + CASE WHEN c.ends_at > clock_timestamp() THEN c.count ELSE 0 END,
        ends_at = CASE WHEN c.ends_at > clock_timestamp() THEN c.ends_at ELSE excluded.ends_at END
    RETURNING c.count, c.ends_at;
$$;

CREATE FUNCTION counted(p_name text) RETURNS TABLE (count bigint, ends_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = standpipe, pg_temp
AS $$
    SELECT c.count, c.ends_at FROM rate_counts c
    WHERE c.name = p_name AND c.ends_at > clock_timestamp();
$$;

GRANT EXECUTE ON FUNCTION count_once, counted TO standpipe_worker, standpipe_gateway;
