"""Whose log a login may audit. Row-level security (0019_auditors.sql) holds it to that."""

from collections.abc import Collection

import asyncpg

from activities.database import COMMAND_SECONDS, as_owner, reached

ROLE = "standpipe_auditor"
Scope = tuple[str, str]
"""A login, and an organisation that it may read."""

_MORE = """
SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication OR EXISTS (
    SELECT FROM pg_roles more
    WHERE more.rolname ~ '^(pg|standpipe)_' AND more.rolname <> $2
        AND pg_has_role(login.oid, more.oid, 'MEMBER')
)
FROM pg_roles login WHERE login.rolname = $1
"""


class NoAuditor(Exception):
    """A login can't be an auditor's; the message says why and what to do."""


async def set_auditors(
    admin_url: str, let: Collection[Scope], stop: Collection[Scope] = ()
) -> list[Scope]:
    """Let logins read organisations' logs, and others no more; returns who may read which now.

    A login that does not exist is made, without a password. The same again is as good.
    NoAuditor if one may do more than an auditor, or if this role can't make it one.
    """
    async with reached():
        for login in sorted({login for login, _ in let} - {ROLE}):
            await _make(admin_url, login)
        async with as_owner(admin_url) as owner, owner.transaction():
            await owner.executemany(
                "INSERT INTO auditors (login, organisation) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                list(let),
            )
            await owner.executemany(
                "DELETE FROM auditors WHERE login = $1 AND organisation = $2", list(stop)
            )
            rows = await owner.fetch("SELECT login, organisation FROM auditors ORDER BY 1, 2")
    return [(row["login"], row["organisation"]) for row in rows]


async def _make(admin_url: str, login: str) -> None:
    connection = await asyncpg.connect(admin_url, timeout=COMMAND_SECONDS)
    try:
        async with connection.transaction():
            more = await connection.fetchval(_MORE, login, ROLE)
            if more:
                raise NoAuditor(
                    f"{login} may do more than read: give the auditor a login that is nothing else."
                )
            quoted = await connection.fetchval("SELECT quote_ident($1)", login)
            if more is None:
                await connection.execute(f"CREATE ROLE {quoted} LOGIN")
            # Whoever may become a role may change its password, and then log in as that.
            await connection.execute(f"GRANT {ROLE} TO {quoted} WITH INHERIT TRUE, SET FALSE")
    except asyncpg.InsufficientPrivilegeError as error:
        raise NoAuditor(
            f"{login} can't be made an auditor ({error}): do it as a superuser, or as whoever made"
            f" {ROLE}, with CREATEROLE."
        ) from None
    finally:
        await connection.close(timeout=COMMAND_SECONDS)
