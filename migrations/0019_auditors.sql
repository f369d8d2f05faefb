-- Auditors: which organisations' rows each of them may read. Row-level security on every table that
-- knows organisations; views read with the rights of whoever asks them.

-- What anybody in a database may do by default, and nobody here needs: to take the locks that appends
-- queue for, and to leave things behind. A superuser, or the database's owner, has to say so.
DO $$
DECLARE
    -- What PostgreSQL lets everybody call that holds others up or writes.
    common regprocedure;
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        FOR common IN
            SELECT p.oid FROM pg_proc p
            WHERE p.pronamespace = 'pg_catalog'::regnamespace
                AND (
                    p.proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$'
                    OR p.proname IN (
                        'lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message'
                    )
                )
        LOOP
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', common);
            EXECUTE format(
                'GRANT EXECUTE ON FUNCTION %s TO standpipe_owner, pg_database_owner', common
            );
        END LOOP;
    END IF;
    IF pg_has_role(
        current_user, (SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE'
    ) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO standpipe_owner', current_database());
    END IF;
END
$$;

SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

-- Whoever logs in by such a name reads that organisation, if it is a member of standpipe_auditor.
-- It is the login that counts, because a session can't change that: not its role, not a setting.
CREATE TABLE auditors (
    login text NOT NULL,
    organisation text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (login, organisation)
);

ALTER TABLE auditors ENABLE ROW LEVEL SECURITY;
CREATE POLICY audited ON auditors FOR SELECT TO standpipe_auditor USING (login = session_user);
GRANT SELECT ON auditors TO standpipe_auditor;

-- Rows of a table with an organisation: an auditor's are of the organisations that it may read (told
-- once for a whole query, and an index can use it); worker and gateway serve all. Of a table that
-- they may not read anyway, such as the vault's, they would not see a row if they might. The owner,
-- as whom the functions run, is above this. A later migration that makes such a table calls this for
-- it, after its grants.
CREATE PROCEDURE scope_to_organisation(p_table regclass)
LANGUAGE plpgsql
AS $$
DECLARE
    served_by text;
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    IF has_any_column_privilege('standpipe_auditor', p_table, 'SELECT') THEN
        EXECUTE format(
            'CREATE POLICY audited ON %s FOR SELECT TO standpipe_auditor USING (
                organisation = ANY (ARRAY(
                    SELECT a.organisation FROM standpipe.auditors a WHERE a.login = session_user
                ))
            )', p_table
        );
    END IF;
    SELECT string_agg(r.name, ', ') INTO served_by
    FROM unnest(ARRAY['standpipe_worker', 'standpipe_gateway']) AS r(name)
    WHERE has_any_column_privilege(r.name, p_table, 'SELECT');
    IF served_by IS NOT NULL THEN
        EXECUTE format(
            'CREATE POLICY served ON %s FOR SELECT TO %s USING (true)', p_table, served_by
        );
    END IF;
END
$$;

-- Without the secrets, now that its view is to read as its reader.
GRANT SELECT (
    organisation, id, feed, url, types, active, ended, created_at, created_by, position,
    failing_since, resume_at
) ON subscriptions TO standpipe_worker, standpipe_gateway, standpipe_auditor;

DO $$
DECLARE
    known regclass;
    shown regclass;
BEGIN
    FOR known IN
        SELECT c.oid FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organisation'
        WHERE c.relnamespace = 'standpipe'::regnamespace AND c.relkind IN ('r', 'p')
            AND NOT c.relrowsecurity
    LOOP
        CALL scope_to_organisation(known);
    END LOOP;
    FOR shown IN
        SELECT c.oid FROM pg_class c
        WHERE c.relnamespace = 'standpipe'::regnamespace AND c.relkind = 'v'
    LOOP
        EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', shown);
    END LOOP;
END
$$;

-- A policy belongs to nobody; an auditor sees those that cases in its scope have pinned.
ALTER TABLE policies ENABLE ROW LEVEL SECURITY;
CREATE POLICY audited ON policies FOR SELECT TO standpipe_auditor
USING (hash IN (SELECT s.policy FROM streams s));
CREATE POLICY served ON policies FOR SELECT TO standpipe_worker, standpipe_gateway USING (true);

-- Limits of every organisation's people: for the functions alone.
ALTER TABLE rate_counts ENABLE ROW LEVEL SECURITY;
