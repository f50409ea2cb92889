"""The S3 server of the laptop: SeaweedFS, all of it in one process, on the loopback interface alone."""

import io
import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from minio import Minio
from minio.error import MinioException

from core.errors import UserError
from core.storage import BUCKETS

# S3, master, volume, filer and admin, one port after the other; each has its gRPC 10,000 higher.
SERVICES, GRPC = 5, 10_000

# Sections of security.toml: HTTP requests between the services are signed, gRPC asks for our certificate.
SIGNED = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
ENCRYPTED = ("master", "volume", "filer", "s3", "admin", "worker", "client")
CERTIFICATE, KEY = "grpc.crt", "grpc.key"


def ports(first: int) -> list[int]:
    """List all ports that the server takes when S3 itself gets the first one."""
    return [port + offset for port in range(first, first + SERVICES) for offset in (0, GRPC)]


def command(port: int, folder: Path) -> list[str]:
    """Write the server's command line."""
    s3, master, volume, filer, admin = range(port, port + SERVICES)
    return [
        *(str(_binary()), "mini", mark(folder), "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
        *(f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}"),
        *("-webdav=false", "-admin.ui=false", "-disableHttp", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false"),
        # By default the free space is divided into volumes: on a small disk too few for every bucket to get one.
        *("-volume.max=1000", "-master.volumeSizeLimitMB=1024", "-volume.preStopSeconds=0"),
    ]


def secure(folder: Path) -> None:
    """Write the keys without which no port but that of S3 answers: made anew at each start, in the server's working directory.

    Other users of this machine reach the ports of the loopback interface, too. `weed shell` works from this folder alone.
    """
    certificate, key = _certificate()
    _write(folder / CERTIFICATE, certificate)
    _write(folder / KEY, key)
    signing = [f'[{name}]\nkey = "{secrets.token_hex(32)}"\n' for name in SIGNED]
    pair = f'cert = "{CERTIFICATE}"\nkey = "{KEY}"\n'
    encrypted = [f'[grpc]\nca = "{CERTIFICATE}"\n', *(f"[grpc.{name}]\n{pair}" for name in ENCRYPTED)]
    _write(folder / "security.toml", "\n".join([*signing, *encrypted]).encode())


def mark(folder: Path) -> str:
    """Return the argument by which the server of this folder can be told from others."""
    return f"-dir={folder}"


def environment(access_key: str, secret_key: str) -> dict[str, str]:
    """Return the variables that the server reads. Without a limit its memory grows to gigabytes under traffic."""
    return {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key, "GOMEMLIMIT": "400MiB"}


def ready(port: int, access_key: str, secret_key: str) -> bool:
    """Whether objects can be written and read; buckets that are missing are created.

    The server answers before its volumes are found: an object that is there would then be an internal error.
    """
    http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=1, read=15), retries=False)
    client = Minio(endpoint=f"127.0.0.1:{port}", access_key=access_key, secret_key=secret_key, region="us-east-1", secure=False, http_client=http)
    try:
        for name in set(BUCKETS) - {bucket.name for bucket in client.list_buckets()}:
            client.make_bucket(name)
        return _round_trip(client) == b"ready"
    except (MinioException, urllib3.exceptions.HTTPError):
        return False


def _round_trip(client: Minio) -> bytes:
    bucket, name = "pipelines", ".ready"
    client.put_object(bucket, name, io.BytesIO(b"ready"), 5)
    with client.get_object(bucket, name) as response:
        data: bytes = response.read()
    client.remove_object(bucket, name)
    return data


def _certificate() -> tuple[bytes, bytes]:
    """Make a certificate that signs itself, and its key: both sides of a gRPC connection show it, and trust no other."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SeaweedFS of this checkout")])
    now = datetime.now(UTC)
    draft = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    draft = draft.serial_number(x509.random_serial_number()).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = draft.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3650)).sign(key, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(encoding), private


def _write(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)


def _binary() -> Path:
    path = Path(sys.executable).parent / "weed"
    if not os.access(path, os.X_OK):
        raise UserError(f"the S3 server {path} is missing: delete .venv and run make again")
    return path
