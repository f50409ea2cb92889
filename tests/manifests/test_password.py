"""PostgreSQL's password follows its Secret: the hook of the pod's start, against a real server that has data."""

import os
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from tests import postgresql
from tests.manifests.build import KUBERNETES


def test_a_server_with_data_takes_the_password_of_its_secret() -> None:
    password = "new 'password' \\ of \"ada\""
    with postgresql.running(Path(tempfile.gettempdir()), log_statement="all") as server:
        old, login = server.password, f"host=127.0.0.1 port={server.port} user=postgres"
        way_in = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGPASSWORD": old}  # in the pod: the local socket
        given = {"POSTGRES_USER": "postgres", "POSTGRES_PASSWORD": password, "PATH": f"{postgresql.PROGRAMS}:{os.environ['PATH']}"}

        hook = subprocess.run(["sh", KUBERNETES / "base/postgres/password.sh"], env=way_in | given, capture_output=True, text=True, check=False)

        assert (hook.returncode, hook.stdout, hook.stderr) == (0, "", "")
        psycopg.connect(login, password=password).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(login, password=old)
        assert 'of "ada"' not in (server.folder / "log").read_text()
