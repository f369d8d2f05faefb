"""The embedded servers: PostgreSQL 18 and Temporal, started and stopped as one, data in one folder.

`Stack` runs them; `endpoints` finds them, or the real servers that the environment names instead.
"""

from stack.connect import Endpoints, StackError, connect_temporal, endpoints, url_as
from stack.embedded import Stack, apply_migrations, ensure_key

__all__ = [
    "Endpoints",
    "Stack",
    "StackError",
    "apply_migrations",
    "connect_temporal",
    "endpoints",
    "ensure_key",
    "url_as",
]
