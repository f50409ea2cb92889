"""PostgreSQL's clients: how they are told where the server is, and what the server tells them."""

import os
import re
from typing import Any, Literal

from psycopg.conninfo import make_conninfo

from core.errors import UserError

NETWORK = {  # a server that has gone without a word is noticed within a minute
    "connect_timeout": int(os.environ.get("PGCONNECT_TIMEOUT", "10")),
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
# Ends a statement within seconds when its client is gone, which else the server sees when it next sends rows: a count or a lock may take hours.
# Of this transaction alone. Servers before 14, and those that are not on Linux, cannot.
WATCH_CLIENT = "SELECT set_config(name, '2s', true) FROM pg_settings WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%'"


def address(name: str, service: str | None, **more: Any) -> str:
    """Return what libpq does not find in the environment, after a look at what it does find there.

    Args:
        name: What the server calls the connection.
        service: A section of PGSERVICEFILE, if one is named.
        more: Parameters of libpq besides.

    Raises:
        UserError: PGHOST is more than hosts: libpq would repeat all of it when it does not find such a host.
    """
    if re.search(r"[=\s@]|://", os.environ.get("PGHOST", "").strip()):
        raise UserError("PGHOST holds more than a host: write the host alone, the password into PGPASSWORD, the rest into PGUSER, PGPORT, PGDATABASE")
    return make_conninfo("", application_name=name[:63], **({"service": service} if service else {}), **NETWORK, **more)


def words(error: Any, *parts: Literal["primary", "detail", "hint"]) -> list[str]:
    """Return those parts of a server's message that an error of psycopg or ADBC has; none if the error is no server's."""
    details, diagnosis = dict(getattr(error, "details", None) or ()), getattr(error, "diag", None)
    found = (details.get(f"PG_DIAG_MESSAGE_{part.upper()}".encode()) or getattr(diagnosis, f"message_{part}", None) for part in parts)
    return [text.decode(errors="replace") if isinstance(text, bytes) else text for text in found if text]
