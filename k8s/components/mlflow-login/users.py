"""Bring MLflow's users to the passwords of their Secret: python users.py USERS, a folder with one file a user.

It also writes MLflow's file MLFLOW_AUTH_CONFIG_PATH, since that holds the database's password.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

ADMIN, PIPELINE = "admin", "pipeline"
WRITES = ("experiment", "registered_model")  # what `pipeline` may change, whoever made it
LOCK = 5000  # migrate.py's
CONFIG = """[mlflow]
default_permission = READ
database_uri = {uri}
admin_username = {admin}
# a password is checked for a third of a second: not at every request
auth_cache_ttl_seconds = 60
"""


def main(users: Path) -> None:
    """Make or change the users, one pod at a time."""
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    try:
        passwords = {name: (users / name).read_text().strip() for name in (ADMIN, PIPELINE)}
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing: the Secret mlflow-users needs one key a user, with the password")
    Path(os.environ["MLFLOW_AUTH_CONFIG_PATH"]).write_text(CONFIG.format(uri=uri.replace("%", "%%"), admin=ADMIN))
    from mlflow.exceptions import MlflowException
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    with psycopg.connect(uri.replace("postgresql+psycopg://", "postgresql://", 1), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        store.init_db(uri)
        for name, password in passwords.items():
            try:
                set_password(store, name, password)
            except MlflowException as error:
                sys.exit(f"error: MLflow does not take the password of {name}: {error.message}")
        for kind in WRITES:
            store.grant_user_permission(PIPELINE, kind, "*", "EDIT")


def set_password(store: "SqlAlchemyStore", name: str, password: str) -> None:
    """Make a user, or change one whose password is another."""
    if not store.has_user(name):
        store.create_user(name, password, is_admin=name == ADMIN)
    elif not store.authenticate_user(name, password):
        store.update_user(name, password=password)
    print(f"user {name}: {'administrator' if name == ADMIN else 'may read and write'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
