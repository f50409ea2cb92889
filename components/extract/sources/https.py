"""One file of a web server: whole, or not at all."""

import errno
import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3

from components.extract.delivery import Delivery, Request
from components.extract.formats import named
from core.certificates import ca_bundle
from core.errors import UserError
from core.resources import count
from core.sources import HttpsSource

TRIES = 5
PAUSE = 1.0  # seconds before the second try, twice as many before each next one
LONGEST_PAUSE = 60.0  # seconds; a server that asks for more gets no other try
SILENCE = (10.0, 60.0)  # seconds to connect, and without a byte
REDIRECTS = 5
BLOCK = 1_000_000
ENCODINGS = {"gzip": ".gz", "zstd": ".zst"}
REASONS = {
    401: "access is denied (401): put a name and password for {host} into ~/.netrc (NETRC names another file)",
    403: "access is denied (403): ask for the right to read it, or correct the name and password for {host} in ~/.netrc",
    404: "there is no such file (404): correct the address",
}


class Interrupted(Exception):
    """A try that another one may better; `pause` is what the server asks for, in seconds."""

    def __init__(self, what: str, pause: float | None = None) -> None:
        super().__init__(what)
        self.pause = pause


@dataclass
class Version:
    """What the server says of the file, of which a part may be here already."""

    etag: str | None = None
    modified: str | None = None
    encoding: str | None = None
    total: int | None = None

    @property
    def condition(self) -> str | None:
        """What makes a server send the rest of the same version only: a weak ETag does not."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def fetch(source: HttpsSource, request: Request) -> Delivery:
    """Download the file; what was cut off is continued, if it is still the same file."""
    name = unquote(Path(urlsplit(source.url).path).name)
    kind = named(source, request, [name])
    target = request.folder / f"file{''.join(Path(name).suffixes[-2:])}"
    version = _download(source, target)
    digest = _digest(source, target)
    suffix = ENCODINGS.get(version.encoding or "", "")
    if suffix and target.suffix != suffix:  # the server compressed it, perhaps without being asked
        target = target.rename(f"{target}{suffix}")
    noted = {"url": source.address, "etag": version.etag, "last_modified": version.modified, "bytes": target.stat().st_size, "sha256": digest}
    return Delivery([target], kind, noted | {"time": datetime.now(UTC).isoformat(timespec="seconds")}, {source.address: version.etag or digest})


def _download(source: HttpsSource, target: Path) -> Version:
    version = Version()
    with requests.Session() as session:
        session.verify = ca_bundle("REQUESTS_CA_BUNDLE") or True
        for number in range(1, TRIES + 1):
            try:
                with _errors(source):
                    _continue(session, source, target, version)
                return version
            except Interrupted as error:
                pause = PAUSE * 2 ** (number - 1) if error.pause is None else error.pause
                if number == TRIES or pause > LONGEST_PAUSE:
                    tries = f"after {number} tries" if number > 1 else f"and wants a pause of {pause:,.0f} s"
                    raise UserError(f"{source.address}: {error}, {tries}: run again later, or look what is wrong with the server") from error
                time.sleep(pause)
    raise AssertionError


@contextmanager
def _errors(source: HttpsSource) -> Iterator[None]:
    """Tell what another try may better from what it cannot. What a library says is not repeated: it may have the query."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        found = re.search(r"certificate verify failed: ([^(]*[^( ])", str(error))
        if not found:
            raise Interrupted("the server breaks the connection") from error
        cure = "correct the address, or name its authority's certificate in REQUESTS_CA_BUNDLE"
        raise UserError(f"{source.address}: the server's certificate is not accepted ({found[1]}): {cure}") from error
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise Interrupted("the server is silent") from error
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        raise Interrupted("the server does not answer, or breaks the connection") from error
    except (requests.RequestException, UnicodeError) as error:
        raise UserError(f"{source.address} is no address of a web server ({type(error).__name__}): correct it") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"{source.address} does not fit on the disk: make room, then run again") from error
        raise


def _continue(session: requests.Session, source: HttpsSource, target: Path, version: Version) -> None:
    """Ask for what is missing, and write it behind what is there."""
    have = target.stat().st_size if target.exists() and version.condition else 0
    wanted = {"Range": f"bytes={have}-", "If-Range": str(version.condition)} if have else {}
    with _answered(session, source, {"Accept-Encoding": "identity"} | wanted) as response:
        size = _describe(response, version, have, target)
        _check_length(source, response, version)
        with target.open("ab" if size else "wb") as stream:
            while block := response.raw.read1(BLOCK, decode_content=False):  # what is there: nothing is lost if the next never comes
                size += len(block)
                _check_size(source, size)
                stream.write(block)
    if version.total not in (None, size):
        raise Interrupted(f"the file ended after {size:,} of {version.total:,} bytes")


def _answered(session: requests.Session, source: HttpsSource, headers: dict[str, str]) -> requests.Response:
    """Ask, follow redirects; names and passwords of ~/.netrc go to the host that they are for, and to no other."""
    url = source.url
    for _ in range(REDIRECTS + 1):
        response = session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=SILENCE, verify=session.verify)
        if not response.is_redirect:
            _check_status(source, response, urlsplit(url).hostname)
            return response
        response.close()
        url = urljoin(url, response.headers["Location"])
        if urlsplit(url).scheme != "https":
            raise UserError(f"{source.address} redirects to {urlsplit(url).scheme}://, which is not safe: correct the address")
    raise UserError(f"{source.address} redirects more than {REDIRECTS} times: correct the address")


def _check_status(source: HttpsSource, response: requests.Response, host: str | None) -> None:
    status = response.status_code
    if status in (200, 206, 416):
        return
    response.close()
    if status in (408, 425, 429) or status >= 500:
        raise Interrupted(f"the server answers {status}", _asked_pause(response))
    reason = REASONS.get(status, f"the server answers {status}: correct the address")
    raise UserError(f"{source.address}: {reason.format(host=host)}")


def _asked_pause(response: requests.Response) -> float | None:
    asked = response.headers.get("Retry-After")
    try:
        return urllib3.Retry().parse_retry_after(asked) if asked else None
    except urllib3.exceptions.InvalidHeader:
        return None


def _describe(response: requests.Response, version: Version, have: int, target: Path) -> int:
    """Note what the server says of the file; return how much of it is here already, and still of use."""
    part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    same = response.headers.get("ETag", version.etag) == version.etag
    if response.status_code != 200 and not (response.status_code == 206 and part and int(part[1]) == have and same):
        target.unlink(missing_ok=True)
        raise Interrupted("the server sends another part than the one that is missing")
    begin = have if response.status_code == 206 else 0
    length = response.headers.get("Content-Length", "")
    version.total = begin + int(length) if length.isdecimal() else None
    if begin and part and part[2] != "*":
        version.total = int(part[2])
    if not begin:
        version.etag, version.modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        version.encoding = response.headers.get("Content-Encoding")
    return begin


def _check_length(source: HttpsSource, response: requests.Response, version: Version) -> None:
    if version.total is not None:
        _check_size(source, version.total)
    elif "chunked" not in response.headers.get("Transfer-Encoding", "").lower() and not source.sha256:
        raise UserError(f"{source.address}: the server sends no Content-Length, so a truncated download could go unnoticed: set sha256")


def _check_size(source: HttpsSource, size: int) -> None:
    if size > count(source.max_size):
        raise UserError(f"{source.address} has more than {source.max_size}: raise max_size, or deliver less")


def _digest(source: HttpsSource, target: Path) -> str:
    with target.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if source.sha256 not in (None, digest):
        raise UserError(f"{source.address}: its SHA-256 is {digest}, not {source.sha256}: look what changed there, or correct sha256")
    return digest
