"""The S3 server of the laptop: SeaweedFS, all of it in one process, on the loopback interface alone."""

import io
import os
import sys
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import MinioException

from core.errors import UserError
from core.storage import BUCKETS

# S3, master, volume, filer and admin, one port after the other; each has its gRPC 10,000 higher.
SERVICES, GRPC = 5, 10_000


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


def _binary() -> Path:
    path = Path(sys.executable).parent / "weed"
    if not os.access(path, os.X_OK):
        raise UserError(f"the S3 server {path} is missing: install the locked environment again (`uv sync`)")
    return path
