"""Object storage against a real S3 server: what works, and the sentence for what does not."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from core.errors import UserError
from core.processes import free_port
from core.storage import client, read, split, upload, write

pytestmark = pytest.mark.usefixtures("platform")


@pytest.fixture
def uri() -> str:
    return f"s3://data/storage/{uuid.uuid4()}"


def test_what_is_written_is_read(uri: str) -> None:
    write(f"{uri}/größe & mehr.txt", b"content")

    assert read(f"{uri}/größe & mehr.txt") == b"content"


def test_a_folder_is_uploaded_file_by_file_and_a_file_as_itself(uri: str, tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "deep" / "deeper" / "b.txt").write_text("b")

    upload(tmp_path, f"{uri}/folder")
    upload(tmp_path / "a.txt", f"{uri}/file")

    bucket, key = split(uri)
    found = [item.object_name for item in client().list_objects(bucket, prefix=f"{key}/", recursive=True)]
    assert found == [f"{key}/file", f"{key}/folder/a.txt", f"{key}/folder/deep/deeper/b.txt"]


def test_an_address_is_a_bucket_and_a_key() -> None:
    assert split("s3://data/a/b c.parquet") == ("data", "a/b c.parquet")


@pytest.mark.parametrize("address", ["data/key", "https://host/key", "s3:///key", "s3:key", ""])
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"is not an S3 address: write s3://bucket/key"):
        read(address)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        pytest.param("s3://data/nothing/here", "s3://data/nothing/here: there is no such object: correct the address", id="key"),
        pytest.param("s3://nowhere/key", "s3://nowhere/key: bucket nowhere does not exist: create it or correct the address", id="bucket"),
        pytest.param("s3://No_Bucket/key", "s3://No_Bucket/key: ", id="bucket's name"),
        pytest.param("s3://data", "s3://data is not the address of an object: write s3://bucket/key", id="no key"),
    ],
)
def test_what_is_not_there_is_named(address: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        read(address)

    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value).splitlines()) == 1


def test_writing_into_a_bucket_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="s3://nowhere/key: bucket nowhere does not exist"):
        write("s3://nowhere/key", b"content")

    assert not client().bucket_exists("nowhere")


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        pytest.param("AWS_ACCESS_KEY_ID", "s3://data/key: the access key is unknown: correct AWS_ACCESS_KEY_ID", id="access key"),
        pytest.param("AWS_SECRET_ACCESS_KEY", "s3://data/key: the secret key is wrong: correct AWS_SECRET_ACCESS_KEY", id="secret key"),
    ],
)
def test_wrong_credentials_are_named(variable: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "wrong-credentials")

    with pytest.raises(UserError) as refused:
        read("s3://data/key")

    assert str(refused.value) == sentence


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_variable_that_is_not_set_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable)

    with pytest.raises(UserError, match=f"object storage is not configured: set {variable} "):
        read("s3://data/key")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8333", "somewhere", "http://"])
def test_an_endpoint_that_is_no_address_is_a_sentence(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)

    with pytest.raises(UserError, match="AWS_ENDPOINT_URL_S3") as refused:
        read("s3://data/key")

    assert endpoint in str(refused.value)


def test_a_server_that_is_not_there_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)

    with pytest.raises(UserError) as refused:
        read("s3://data/key")

    assert str(refused.value) == (
        f"s3://data/key: the S3 server at {address} does not answer: start it (`mlops platform up`) or correct AWS_ENDPOINT_URL_S3"
    )
