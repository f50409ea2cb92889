"""`make secrets`: the Secrets of a cluster, at random."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli import secrets
from core.errors import UserError
from tests.manifests.build import KUBERNETES, Document


def _read(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    documents = yaml.safe_load_all(path.read_text())
    return {(document["metadata"]["namespace"], document["metadata"]["name"]): document["stringData"] for document in documents}


def test_passwords_agree_between_those_who_use_them(tmp_path: Path) -> None:
    # when
    secrets.write(tmp_path / "secrets.yaml")
    # then
    made = _read(tmp_path / "secrets.yaml")
    users = made["mlops-platform", "minio-users"]
    for user, place in (("mlflow", ("mlops-platform", "mlflow-s3")), ("pipeline", ("mlops", "mlops-s3")), ("serving", ("mlops-serving", "mlops-s3"))):
        assert made[place] == {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": users[user]}
    database = made["mlops-platform", "postgres"]["POSTGRES_PASSWORD"]
    assert f":{database}@postgres:" in made["mlops-platform", "mlflow-database"]["MLFLOW_BACKEND_STORE_URI"]
    login = {"MLFLOW_TRACKING_USERNAME": "pipeline", "MLFLOW_TRACKING_PASSWORD": made["mlops-platform", "mlflow-users"]["pipeline"]}
    assert made["mlops", "mlops-mlflow"] == login


def test_every_password_is_another_one_each_time(tmp_path: Path) -> None:
    # when
    secrets.write(tmp_path / "a.yaml")
    secrets.write(tmp_path / "b.yaml")
    # then
    first, second = _read(tmp_path / "a.yaml"), _read(tmp_path / "b.yaml")
    users = first["mlops-platform", "minio-users"]
    assert len(set(users.values())) == len(users) == 4
    assert all(len(password) >= 32 for password in users.values())
    assert not set(users.values()) & set(second["mlops-platform", "minio-users"].values())


@pytest.mark.parametrize("rotated", [False, True])
def test_only_the_owner_may_read_them(tmp_path: Path, rotated: bool) -> None:
    secrets.write(tmp_path / "secrets.yaml")
    if rotated:
        secrets.rotate(tmp_path / "secrets.yaml")
    assert stat.S_IMODE((tmp_path / "secrets.yaml").stat().st_mode) == 0o600


def test_rotation_replaces_every_password_and_they_still_agree(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    secrets.write(path)
    before = _read(path)

    count = secrets.rotate(path)

    after = _read(path)
    old, new = (set(secrets.PASSWORD.findall(str(each))) for each in (before, after))
    assert (len(old), len(new), old & new) == (count, count, set())
    users = after["mlops-platform", "minio-users"]
    assert after["mlops-serving", "mlops-s3"] == {"AWS_ACCESS_KEY_ID": "serving", "AWS_SECRET_ACCESS_KEY": users["serving"]}
    database = after["mlops-platform", "postgres"]["POSTGRES_PASSWORD"]
    assert f":{database}@postgres:" in after["mlops-platform", "mlflow-database"]["MLFLOW_BACKEND_STORE_URI"]
    assert list(tmp_path.iterdir()) == [path]


def test_rotation_keeps_what_is_yours_and_adds_what_is_missing(tmp_path: Path) -> None:
    # given
    path = tmp_path / "secrets.yaml"
    secrets.write(path)
    documents = [each for each in yaml.safe_load_all(path.read_text()) if each["metadata"]["name"] != "mlflow-users"]
    documents[0]["stringData"]["MINIO_ROOT_USER"] = "ada"
    mine = {"metadata": {"name": "mlops-sources", "namespace": "mlops"}, "stringData": {"PGPASSWORD": "my own"}}
    path.write_text("# mine\n" + yaml.safe_dump_all([*documents, mine]))
    # when
    secrets.rotate(path)
    # then
    assert path.read_text().startswith("# mine\n")
    after = _read(path)
    assert after["mlops", "mlops-sources"] == {"PGPASSWORD": "my own"}
    assert after["mlops-platform", "minio-root"]["MINIO_ROOT_USER"] == "ada"
    assert set(after["mlops-platform", "mlflow-users"]) == {"admin", "pipeline"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(None, "does not exist, so there is nothing to rotate: run `make secrets` first", id="no file"),
        pytest.param("[1", "cannot be read as Secrets", id="no YAML"),
        pytest.param("metadata: {name: a}\nstringData: {b: mine}", "holds no password that `make secrets` made", id="no password"),
    ],
)
def test_a_file_that_cannot_be_rotated_stays_as_it_is(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "secrets.yaml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(UserError, match=sentence):
        secrets.rotate(path)

    assert (path.read_text() if path.exists() else None) == text


def test_secrets_that_are_there_are_left_alone(tmp_path: Path) -> None:
    # given
    path = tmp_path / "secrets.yaml"
    path.write_text("mine")
    # when
    with pytest.raises(UserError, match="exists, and a running cluster may depend on it: keep it, or make new passwords"):
        secrets.write(path)
    # then
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/secrets\.yaml cannot be written: No such file"):
        secrets.write(tmp_path / "nowhere/secrets.yaml")


def test_the_vault_and_the_file_make_the_same_secrets(built: Callable[[str], list[Document]]) -> None:
    # given
    local, vault = built("overlays/local"), built("overlays/external-secrets")
    # then
    file = {(d["metadata"]["namespace"], d["metadata"]["name"]) for d in local if d["kind"] == "Secret" and "stringData" in d}
    assert file == {(d["metadata"]["namespace"], d["metadata"]["name"]) for d in vault if d["kind"] == "ExternalSecret"}


def test_every_user_of_minio_has_a_policy() -> None:
    policies = {path.stem for path in (KUBERNETES / "base/buckets/policies").glob("*.json")}
    assert policies == set(secrets.USERS)
