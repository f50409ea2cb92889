"""Object storage against a real S3 server: what works, and the sentence for what does not."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.calls import Pinned
from core.errors import UserError
from core.processes import free_port
from core.storage import client, read, split, upload, write
from core.transfer import BODY, get, put
from local import s3
from local.ports import choose
from tests.unit.wire import wire

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
    assert split("s3://data/a/b c?#1.parquet") == ("data", "a/b c?#1.parquet")


@pytest.mark.parametrize("address", ["data/key", "https://host/key", "s3:///key", "s3:key", ""])
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"is not an S3 address: write s3://bucket/key"):
        read(address)


@pytest.mark.parametrize(
    ("status", "code", "more", "sentence"),
    [
        (507, "XMinioStorageFull", "<Message>Storage backend</Message>", "the S3 server's disk is full: make room"),
        (403, "QuotaExceeded", "", "the bucket's quota is used up: make room"),
        (403, "RequestTimeTooSkewed", "<Message>too large</Message>", "the clocks of this machine and of the S3 server differ"),
        (400, "ExpiredToken", "", "the credentials have expired or belong to another server: get new ones"),
        (403, "InvalidTokenId", "", "the credentials have expired or belong to another server: get new ones"),
        (400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>", "is in another region, eu-central-1: set AWS_REGION"),
        (301, "PermanentRedirect", "<Endpoint>s3.eu.example.com</Endpoint>", "and AWS_ENDPOINT_URL_S3 to that region's server"),
        (418, "Teapot", "", "Teapot: the S3 server says no more: look the code up"),
    ],
)
def test_what_a_server_refuses_has_cause_and_cure(
    status: int, code: str, more: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code>{more}<BucketName>data</BucketName></Error>"
    (tmp_path / "a.txt").write_text("a")

    with refusing(status, body) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        for attempt in (lambda: read("s3://data/key"), lambda: write("s3://data/key", b"x"), lambda: upload(tmp_path, "s3://data/many")):
            with pytest.raises(UserError) as refused:
                attempt()
            assert str(refused.value).startswith("s3://data/") and sentence in str(refused.value)


@contextmanager
def refusing(status: int, body: str) -> Iterator[str]:
    """A server that refuses everything in S3's words."""

    class Refusal(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PUT = do_POST = do_HEAD = refuse  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


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
    monkeypatch.delenv("AWS_REGION")  # a region alone means AWS

    with pytest.raises(UserError, match=f"object storage is not configured: set {variable} "):
        read("s3://data/key")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8333", "somewhere", "http://", "http://[::1"])
def test_an_endpoint_that_is_no_address_is_a_sentence(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)

    with pytest.raises(UserError, match="AWS_ENDPOINT_URL_S3") as refused:
        read("s3://data/key")

    assert "such as https://s3.example.com" in str(refused.value)


def test_a_server_that_is_not_there_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)

    with pytest.raises(UserError) as refused:
        read("s3://data/key")

    assert str(refused.value) == (
        f"s3://data/key: the S3 server at {address} does not answer: start it (`mlops platform up`) or correct AWS_ENDPOINT_URL_S3"
    )


def test_many_files_are_uploaded_and_downloaded_as_they_are(uri: str, tmp_path: Path) -> None:
    sizes = {"empty": 0, "small": 1, "odd\tname?.txt": 10, "deep/größe &+ 100%": 70_000, "last in one call": BODY, "first in parts": BODY + 1}
    files = {name: tmp_path / str(number) for number, name in enumerate(sizes)}
    for name, size in sizes.items():
        files[name].write_bytes(os.urandom(size))
    bucket, key = split(uri)

    put(bucket, {f"{key}/{name}": path for name, path in files.items()})
    listed = {str(item.object_name): item for item in client().list_objects(bucket, prefix=f"{key}/", recursive=True)}
    get(bucket, {tmp_path / "down" / name.replace("/", "-"): _pinned(listed[f"{key}/{name}"]) for name in files})

    assert {name: (tmp_path / "down" / name.replace("/", "-")).read_bytes() for name in files} == {
        name: path.read_bytes() for name, path in files.items()
    }


def test_many_files_of_a_folder_keep_their_places(uri: str, tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number % 7)).mkdir(exist_ok=True)
        (tmp_path / str(number % 7) / str(number)).write_text(str(number))

    upload(tmp_path, uri)

    bucket, key = split(uri)
    found = [str(item.object_name) for item in client().list_objects(bucket, prefix=f"{key}/", recursive=True)]
    assert sorted(found) == sorted(f"{key}/{number % 7}/{number}" for number in range(100))
    assert all(read(f"s3://data/{name}").decode() == name.rpartition("/")[2] for name in found[::10])


def test_connections_that_break_during_an_upload_are_made_again(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        (tmp_path / str(number)).write_text(str(number))

    with wire(_port(), budget=lambda _: 700) as endpoint:  # of some answers
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        upload(tmp_path, uri)

    monkeypatch.undo()
    bucket, key = split(uri)
    assert len(list(client().list_objects(bucket, prefix=f"{key}/", recursive=True))) == 60


@pytest.mark.parametrize(
    ("address", "variable", "sentence"),
    [
        pytest.param("s3://nowhere/key", None, "bucket nowhere does not exist: create it or correct the address", id="bucket"),
        pytest.param("s3://data/key", "AWS_ACCESS_KEY_ID", "the access key is unknown: correct AWS_ACCESS_KEY_ID", id="access key"),
        pytest.param("s3://data/key", "AWS_SECRET_ACCESS_KEY", "the secret key is wrong: correct AWS_SECRET_ACCESS_KEY", id="secret key"),
        pytest.param("s3://data/key", "AWS_ENDPOINT_URL_S3", "the S3 server at http://127.0.0.1:1 does not answer: start it", id="server"),
    ],
)
def test_an_upload_that_cannot_be_is_a_sentence(
    address: str, variable: str | None, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (tmp_path / str(number)).write_text("content")
    if variable:
        monkeypatch.setenv(variable, "http://127.0.0.1:1" if "ENDPOINT" in variable else "wrong-credentials")

    with pytest.raises(UserError) as refused:
        upload(tmp_path, address)

    assert str(refused.value).startswith(f"{address}: {sentence}")


def test_an_upload_without_a_key_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")

    with pytest.raises(UserError, match=r"^s3://data is not the address of an object: write s3://bucket/key$"):
        upload(tmp_path / "a", "s3://data")


def test_a_file_that_goes_before_it_is_uploaded_is_named(uri: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        put(split(uri)[0], {"key": tmp_path / "gone"})


@pytest.mark.slow
def test_a_server_that_is_restarted_in_the_middle_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    for number in range(3000):
        (tmp_path / "files" / str(number)).write_bytes(os.urandom(4096))
    with _own_server(tmp_path / "server", monkeypatch) as restart:
        threading.Timer(0.3, restart).start()
        upload(tmp_path / "files", "s3://data/many")
        listed = [_pinned(item) for item in client().list_objects("data", prefix="many/", recursive=True)]
        threading.Timer(0.3, restart).start()
        get("data", {tmp_path / "down" / Path(item.key).name: item for item in listed})

    assert len(listed) == 3000
    assert all((tmp_path / "down" / file.name).read_bytes() == file.read_bytes() for file in (tmp_path / "files").iterdir())


def _port() -> int:
    return int(os.environ["AWS_ENDPOINT_URL_S3"].rpartition(":")[2])


def _pinned(item: Any) -> Pinned:
    return Pinned(item.object_name, item.size, item.etag, item.last_modified)


@contextmanager
def _own_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Run a server that no other test uses; it is killed and started again by what is yielded."""
    folder.mkdir()
    port = choose("MLOPS_TEST_PORT", 0, s3.ports)
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        settings = os.environ | s3.environment("own", "own-secret")
        running.append(subprocess.Popen(s3.command(port, folder), env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def restart() -> None:
        running[-1].kill()
        running[-1].wait()
        start()

    start()
    try:
        while not s3.ready(port, "own", "own-secret"):
            time.sleep(0.1)
        for variable, value in {"ENDPOINT_URL_S3": f"http://127.0.0.1:{port}", "ACCESS_KEY_ID": "own", "SECRET_ACCESS_KEY": "own-secret"}.items():
            monkeypatch.setenv(f"AWS_{variable}", value)
        yield restart
    finally:
        running[-1].kill()
        running[-1].wait()
