"""Bring MLflow's database to the version of this image: waits for PostgreSQL, and for another pod that is at it."""

import os
import sys
import time

import psycopg

PATIENCE, PAUSE = 120, 2  # seconds
LOCK = 5000  # any number that all pods agree on


def main() -> None:
    """Migrate, one pod at a time."""
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    with connect(uri.replace("postgresql+psycopg://", "postgresql://", 1)) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        from mlflow.cli import cli

        cli(["db", "upgrade", uri], standalone_mode=False)


def connect(uri: str) -> psycopg.Connection:
    """Connect to PostgreSQL as soon as it answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return psycopg.connect(uri, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                sys.exit(f"error: PostgreSQL did not let us in for {PATIENCE} s: {str(error).strip().splitlines()[0]}")
            time.sleep(PAUSE)


if __name__ == "__main__":
    main()
