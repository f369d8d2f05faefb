-- The roles and the schema. Roles belong to the whole server: another database may be creating them
-- at this moment, and losing that race is as good as winning it.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY[
        'standpipe_owner NOLOGIN', 'standpipe_worker LOGIN', 'standpipe_gateway LOGIN',
        'standpipe_auditor LOGIN'
    ] LOOP
        IF to_regrole(split_part(wanted, ' ', 1)) IS NULL THEN
            BEGIN
                EXECUTE 'CREATE ROLE ' || wanted;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    -- Whoever migrates without being a superuser acts as the owner of what is created.
    IF NOT pg_has_role(current_user, 'standpipe_owner', 'SET') THEN
        EXECUTE format(
            'GRANT standpipe_owner TO %I WITH INHERIT FALSE, SET TRUE', current_user
        );
    END IF;
END
$$;

CREATE SCHEMA standpipe AUTHORIZATION standpipe_owner;

SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

GRANT USAGE ON SCHEMA standpipe TO standpipe_worker, standpipe_gateway, standpipe_auditor;

CREATE TABLE migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

GRANT SELECT ON migrations TO standpipe_worker, standpipe_gateway, standpipe_auditor;
