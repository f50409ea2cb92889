"""The https source: the whole file or a sentence, whatever the server does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.extract.delivery import Delivery, Request
from components.extract.sources import fetch, https
from core.contract import Contract
from core.errors import UserError
from core.sources import HttpsSource
from tests.https_server import Answer, Server

BODY = b"x,k\n" + b"".join(b"%d,a\n" % number for number in range(20_000))
HALF = len(BODY) // 2
PART = f"bytes={HALF}-"
THEN = {"Last-Modified": "Fri, 20 Nov 2026 10:00:00 GMT"}
AGAIN = "run again later, or look what is wrong with the server"
BROKEN = f"the server does not answer, or breaks the connection, after 5 tries: {AGAIN}"
DENIED = "access is denied (403): ask for the right to read it, or correct the name and password for 127.0.0.1 in ~/.netrc"
ENDLESS = "the server sends no Content-Length, so a truncated download could go unnoticed: set sha256"
NETRC = "~/.netrc (NETRC names another file)"


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")).running() as server:
        yield server


@pytest.fixture
def server(everywhere: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, whose certificate is accepted; nobody waits long."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", everywhere.certificate)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(https, "PAUSE", 0.001)
    return everywhere


def fetched(url: str, folder: Path, **more: Any) -> Delivery:
    place = folder / "rows"
    place.mkdir()
    contract = Contract.model_validate({"columns": {"x": {"type": "integer"}}})
    return fetch(HttpsSource(kind="https", url=url, format=more.pop("format", None), **more), Request("small", "rows", contract, place, "256MB"))


def refused(url: str, folder: Path, **more: Any) -> str:
    with pytest.raises(UserError) as error:
        fetched(url, folder, **more)
    return str(error.value)


def test_a_file_is_fetched_and_its_version_is_noted(server: Server, tmp_path: Path) -> None:
    url = server.say("/rows.csv", Answer(BODY, headers=THEN))

    found = fetched(f"{url}?customer=secret", tmp_path)

    assert (found.files[0].read_bytes(), found.format) == (BODY, "csv")
    time = found.origin.pop("time")
    assert time.endswith("+00:00")
    digest = hashlib.sha256(BODY).hexdigest()
    noted = {"url": url, "etag": '"1"', "last_modified": "Fri, 20 Nov 2026 10:00:00 GMT", "bytes": len(BODY), "sha256": digest}
    assert (found.origin, found.pins) == (noted, {url: '"1"'})


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        pytest.param([Answer(BODY, cut=HALF), Answer(BODY)], [None, PART], id="cut off: the rest"),
        pytest.param([Answer(BODY, cut=HALF), Answer(BODY, cut=100), Answer(BODY)], [None, PART, f"bytes={HALF + 100}-"], id="cut off twice"),
        pytest.param([Answer(BODY, cut=HALF), Answer(BODY, most=10), Answer(BODY)], [None, PART, f"bytes={HALF + 10}-"], id="less than asked"),
        pytest.param([Answer(BODY, cut=HALF), Answer(BODY, ranges=False)], [None, PART], id="no ranges: anew"),
        pytest.param([Answer(b"q" * 9000, etag='"0"', cut=4000), Answer(BODY)], [None, "bytes=4000-"], id="changed in between: anew"),
        pytest.param([Answer(b"q" * 9000, etag='W/"0"', cut=4000), Answer(BODY)], [None, None], id="weak ETag: anew"),
        pytest.param([Answer(b"q" * 9000, etag=None, cut=4000), Answer(BODY)], [None, None], id="no ETag: anew"),
        pytest.param([Answer(BODY, etag=None, headers=THEN, cut=HALF), Answer(BODY, etag=None, headers=THEN)], [None, PART], id="by its time"),
        pytest.param(
            [Answer(BODY, cut=HALF), Answer(BODY, headers={"Content-Range": "bytes 7-9/10"}), Answer(BODY)],
            [None, PART, None],
            id="another part than asked: anew",
        ),
        pytest.param([Answer(BODY, cut=HALF), Answer(status=416), Answer(BODY)], [None, PART, None], id="no such part: anew"),
        pytest.param([Answer(BODY, cut=HALF, chunked=True), Answer(BODY, chunked=True)], [None, PART], id="chunks"),
        pytest.param([Answer(BODY, cut=HALF, stalls=True), Answer(BODY)], [None, PART], id="silent"),
        pytest.param([Answer(status=503, headers={"Retry-After": "0"}), Answer(BODY)], [None, None], id="503"),
        pytest.param([Answer(status=429, headers={"Retry-After": "Fri, 20 Nov 2020 10:00:00 GMT"}), Answer(BODY)], [None, None], id="429"),
        pytest.param([Answer(status=500, headers={"Retry-After": "soon"}), Answer(BODY)], [None, None], id="500"),
        pytest.param([Answer(BODY, length=len(BODY) + 1, cut=len(BODY)), Answer(BODY)], [None, f"bytes={len(BODY)}-"], id="longer than it is"),
    ],
)
def test_a_try_that_fails_is_made_again(
    server: Server, tmp_path: Path, answers: list[Answer], asked: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "SILENCE", (5, 0.3))
    url = server.say("/again.csv", *answers)

    found = fetched(url, tmp_path)

    assert found.files[0].read_bytes() == BODY
    assert [request.get("Range") for request in server.seen["/again.csv"]] == asked


@pytest.mark.parametrize(
    ("answer", "sentence", "tries"),
    [
        pytest.param(Answer(status=401), f"access is denied (401): put a name and password for 127.0.0.1 into {NETRC}", 1, id="401"),
        pytest.param(Answer(status=403), DENIED, 1, id="403"),
        pytest.param(Answer(status=404), "there is no such file (404): correct the address", 1, id="404"),
        pytest.param(Answer(status=418), "the server answers 418: correct the address", 1, id="another"),
        pytest.param(Answer(status=503), f"the server answers 503, after 5 tries: {AGAIN}", 5, id="always busy"),
        pytest.param(
            Answer(status=503, headers={"Retry-After": "3600"}),
            f"the server answers 503, and wants a pause of 3,600 s: {AGAIN}",
            1,
            id="busy for long",
        ),
        pytest.param(Answer(BODY, cut=100, ranges=False), BROKEN, 5, id="always cut"),
        pytest.param(Answer(BODY, etag=None, cut=100, chunked=True), BROKEN, 5, id="chunks always cut"),
        pytest.param(Answer(BODY, length=-1), ENDLESS, 1, id="no length"),
    ],
)
def test_a_file_that_cannot_be_had_whole_is_refused(server: Server, tmp_path: Path, answer: Answer, sentence: str, tries: int) -> None:
    url = server.say("/refused.csv", answer)

    found = refused(f"{url}?customer=secret", tmp_path)

    assert found == f"{url}: {sentence}"
    assert len(server.seen["/refused.csv"]) == tries


def test_a_server_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    url = "https://127.0.0.1:1/rows.csv"

    found = refused(f"{url}?customer=secret", tmp_path)

    assert found == f"{url}: {BROKEN}"


@pytest.mark.parametrize("answer", [Answer(b"q" * 1_000_001), Answer(b"q" * 1_000_001, chunked=True)], ids=["said", "found out"])
def test_a_file_that_is_too_large_is_refused_while_it_comes(server: Server, tmp_path: Path, answer: Answer) -> None:
    url = server.say("/large.csv", answer)

    found = refused(url, tmp_path, max_size="1MB")

    assert found == f"{url} has more than 1MB: raise max_size, or deliver less"
    assert sum(file.stat().st_size for file in (tmp_path / "rows").iterdir()) <= 1_000_000


def test_a_file_of_the_greatest_size_is_taken(server: Server, tmp_path: Path) -> None:
    url = server.say("/largest.csv", Answer(b"q" * 1_000_000))

    found = fetched(url, tmp_path, max_size="1MB")

    assert found.origin["bytes"] == 1_000_000


def test_the_checksum_decides_also_where_the_server_names_no_length(server: Server, tmp_path: Path) -> None:
    url = server.say("/sum.csv", Answer(BODY, length=-1))
    digest = hashlib.sha256(BODY).hexdigest()

    found = fetched(url, tmp_path, sha256=digest)

    assert found.files[0].read_bytes() == BODY


@pytest.mark.parametrize("answer", [Answer(b"x\n1\n"), Answer(BODY, length=4)], ids=["another file", "shorter than it is"])
def test_another_checksum_is_refused(server: Server, tmp_path: Path, answer: Answer) -> None:
    url = server.say("/wrong.csv", answer)
    digest = hashlib.sha256(BODY).hexdigest()

    found = refused(url, tmp_path, sha256=digest)

    assert found == f"{url}: its SHA-256 is {hashlib.sha256(answer.body[:4]).hexdigest()}, not {digest}: look what changed there, or correct sha256"


def test_a_redirect_is_followed_and_the_name_of_the_first_address_counts(server: Server, tmp_path: Path) -> None:
    there = server.say("/there", Answer(BODY), host="localhost")
    url = server.say("/here.csv", Answer(status=302, headers={"Location": there}))

    found = fetched(url, tmp_path)

    assert (found.files[0].read_bytes(), found.format, found.origin["url"]) == (BODY, "csv", url)


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        pytest.param("http://127.0.0.1/rows.csv?token=secret", "redirects to http://, which is not safe: correct the address", id="http"),
        pytest.param("file:///etc/passwd", "redirects to file://, which is not safe: correct the address", id="file"),
        pytest.param("/loop.csv", "redirects more than 5 times: correct the address", id="loop"),
    ],
)
def test_a_redirect_that_is_not_safe_is_refused(server: Server, tmp_path: Path, location: str, sentence: str) -> None:
    url = server.say("/loop.csv", Answer(status=307, headers={"Location": location}))

    found = refused(url, tmp_path)

    assert found == f"{url} {sentence}"


def test_a_password_comes_from_netrc_and_goes_to_no_other_host(server: Server, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    there = server.say("/elsewhere", Answer(BODY), host="localhost")
    url = server.say("/mine.csv", Answer(status=302, headers={"Location": there}, user="me:secret"))

    found = fetched(url, tmp_path)

    assert found.files[0].read_bytes() == BODY
    assert "Authorization" in server.seen["/mine.csv"][0]
    assert "Authorization" not in server.seen["/elsewhere"][0]


def test_a_wrong_password_is_not_repeated(server: Server, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password wrong-secret\n")
    url = server.say("/closed.csv", Answer(BODY, user="me:secret"))

    found = refused(url, tmp_path)

    assert found.startswith(f"{url}: access is denied (401)")
    assert "secret" not in found


def test_a_certificate_that_nobody_vouches_for_is_refused(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    url = server.say("/unknown.csv", Answer(BODY))

    found = refused(f"{url}?customer=secret", tmp_path)

    cure = "correct the address, or name its authority's certificate in REQUESTS_CA_BUNDLE"
    assert found == f"{url}: the server's certificate is not accepted (unable to get local issuer certificate): {cure}"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_certificates_come_from_the_file_that_a_variable_names(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    url = server.say("/bundle.csv", Answer(BODY))

    monkeypatch.setenv(variable, server.certificate)
    assert fetched(url, tmp_path).files[0].read_bytes() == BODY

    monkeypatch.setenv(variable, str(tmp_path / "nothing.pem"))
    folder = tmp_path / "again"
    folder.mkdir()
    assert refused(url, folder).startswith(f"{variable} names {tmp_path}/nothing.pem, which is no file: correct it")


def test_what_the_server_compressed_is_named_so(server: Server, tmp_path: Path) -> None:
    url = server.say("/packed.csv", Answer(BODY, headers={"Content-Encoding": "gzip"}))

    found = fetched(url, tmp_path)

    assert (found.files[0].name, found.files[0].read_bytes()) == ("file.csv.gz", BODY)


@pytest.mark.parametrize(
    ("path", "kind"), [("/a.csv.gz", "csv"), ("/a.tar.parquet", "parquet"), ("/%C3%B6.NDJSON", "jsonl"), ("/d.json.zst", "jsonl")]
)
def test_the_name_tells_the_format(server: Server, tmp_path: Path, path: str, kind: str) -> None:
    url = server.say(path, Answer(BODY))

    assert fetched(url, tmp_path).format == kind


def test_an_address_that_tells_no_format_needs_one(server: Server, tmp_path: Path) -> None:
    url = server.say("/export", Answer(BODY))

    found = refused(f"{url}?format=.csv", tmp_path)

    known = ".parquet, .csv, .jsonl, .avro"
    assert found == f"source rows: {url} names files of other kinds than one of {known}: correct sources.rows or name the format"
    assert server.seen["/export"] == []
