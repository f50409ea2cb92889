"""What libpq and the server say, as sentences with the cure."""

import os
import re
from typing import Any

from components.extract.delivery import Request
from core.errors import UserError, first_line
from core.postgresql import words
from core.sources import PostgresqlSource

PASSING = re.compile("08...|40001|40P01|53300|55P03|57P0[123]")  # SQLSTATEs of what may be over soon: connections, locks, restarts
CLIENTS = r"^connection failed: |^IO: \[libpq\] Failed to connect: |FATAL: +"  # what psycopg, ADBC and libpq put before the reason
STATES = {  # of a statement
    "25006": "it writes, and a source only reads: take what writes out of the query",
    "42501": "{text}: let the owner GRANT SELECT on it to the user, or set PGUSER",
    "42601": "the query is not one SELECT that can stand in a subquery ({text}): correct sources.{name}.query",
    "53100": "the server's disk is full ({text}): make room there, or read less",
    "53300": "the server has no connection left ({text}): try later, or let it have more (max_connections)",
    "55P03": "somebody holds a lock on it for more than 10 s, such as ALTER TABLE or TRUNCATE: run again when that has ended",
    "57014": "the server gave up after {timeout} s: raise sources.{name}.timeout, or read less",
}
SIGNS = {  # of a connection: it has no SQLSTATE, and what a server says may be in any language
    "password authentication failed|no password supplied": "the server refuses the user or its password: correct PGUSER and PGPASSWORD",
    "pg_hba.conf": "{text}: correct PGUSER or PGSSLMODE, or let the server admit it",
    "role .* does not exist|not permitted to log in|permission denied for database": "{text}: correct PGUSER, or let the server admit it",
    'database ".*" does not exist': "{text}: correct PGDATABASE",
    "definition of service|service file": "{text}: correct sources.{name}.service or PGSERVICEFILE",
    "too many (clients|connections)|connection slots": STATES["53300"],
    "certificate|SSL|TLS": "{text}: correct PGSSLMODE and PGSSLROOTCERT",
}


def may_pass(error: Any) -> bool:
    """Tell whether another try may succeed."""
    if error.sqlstate:
        return bool(PASSING.fullmatch(error.sqlstate))
    cause = _sign(str(error))
    return cause is None or cause == STATES["53300"]


def sentence(source: PostgresqlSource, request: Request, error: Any) -> UserError:
    """Return what a user can do about an error of psycopg or ADBC."""
    text = _text(error)
    cause = STATES.get(error.sqlstate or "") or _sign(str(error)) or _other(error)
    shown = cause.format(text=text, name=request.name, timeout=source.timeout)
    return UserError(f"source {request.name}: {source.address}: {shown}")


def _sign(text: str) -> str | None:
    return next((cause for sign, cause in SIGNS.items() if re.search(sign, text)), None)


def _other(error: Any) -> str:
    state = error.sqlstate or ""
    if not state or re.fullmatch("08...|57P0[123]", state):
        return f"{{text}}: look whether the server{_place()} runs and can be reached, or correct PGHOST and PGPORT"
    if state == "40001":
        return "the server, a replica, took back what was being read ({text}): run again, or read from the primary"
    return "{text}: correct sources.{name}"


def _place() -> str:
    host = os.environ.get("PGHOST")
    return f" at {host}:{os.environ.get('PGPORT', '5432')}" if host else ""


def _text(error: Any) -> str:
    """Return the server's own words with its hint, if they are a server's; never a password, nor a brace."""
    parts = [*(words(error, "primary") or [first_line(error)]), *words(error, "hint")]
    found = re.sub(CLIENTS, "", ". ".join(part.strip().rstrip(".") for part in parts))
    secret = os.environ.get("PGPASSWORD")
    return found.replace(secret, "...") if secret else found
