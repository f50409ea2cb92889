"""Object storage: any server that speaks S3, through minio-py."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from core.errors import UserError
from core.retry import Retry

BUCKETS = ("data", "pipelines", "mlflow", "models", "predictions")
ARTIFACTS = "s3://pipelines/kfp"  # of pipeline runs: defaultPipelineRoot in the ConfigMap kfp-launcher
ENVIRONMENT = ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
FULL = f"make room, such as by deleting artifacts of old runs below {ARTIFACTS}, or have the limit raised"
EXPIRED = "the credentials have expired or belong to another server: get new ones (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)"
REGION = "the bucket is in another region{region}: set AWS_REGION to it"
CURES = {
    "NoSuchBucket": "bucket {bucket} does not exist: create it or correct the address",
    "NoSuchKey": "there is no such object: correct the address",
    "AccessDenied": "access denied: the credentials may not use it (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
    "InternalError": "the S3 server cannot do it, perhaps its disk is full: make room, or look into its log (.local/logs/s3.log on a laptop)",
    "InvalidAccessKeyId": "the access key is unknown: correct AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key is wrong: correct AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "the clocks of this machine and of the S3 server differ by minutes: set both by NTP, then run again",
    "SlowDown": "the S3 server has too much to do: run again later",
    **dict.fromkeys(("XMinioStorageFull", "XMinioDiskFull", "InsufficientStorage"), f"the S3 server's disk is full: {FULL}"),
    **dict.fromkeys(("QuotaExceeded", "XMinioAdminBucketQuotaExceeded"), f"the bucket's quota is used up: {FULL}"),
    **dict.fromkeys(("ExpiredToken", "InvalidToken", "InvalidTokenId", "TokenRefreshRequired"), EXPIRED),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"), REGION),
    **dict.fromkeys(("PermanentRedirect", "TemporaryRedirect", "Redirect"), f"{REGION}, and AWS_ENDPOINT_URL_S3 to that region's server{{endpoint}}"),
}


def split(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")  # not as a URL: ? and # are signs of a key like others
    if not uri.startswith("s3://") or not bucket:
        raise UserError(f"{uri} is not an S3 address: write s3://bucket/key")
    return bucket, key.lstrip("/")


def client() -> Minio:
    """Connect to the S3 server that the environment names.

    Raises:
        UserError: A variable is missing.
    """
    missing = [name for name in ENVIRONMENT if not os.environ.get(name)]
    if missing:
        raise UserError(f"object storage is not configured: set {', '.join(missing)} (`mlops platform env` prints the local ones)")
    try:
        endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
    except ValueError as error:
        raise UserError(f"AWS_ENDPOINT_URL_S3 is no address ({error}): write the server alone, such as https://s3.example.com") from error
    if "@" in endpoint.netloc:
        raise UserError("AWS_ENDPOINT_URL_S3 holds a name or password: remove it, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are for that")
    if endpoint.scheme not in ("http", "https") or not endpoint.hostname or endpoint.path.strip("/"):
        raise UserError(f"AWS_ENDPOINT_URL_S3 is {endpoint.geturl()}: write the server alone, such as https://s3.example.com")
    return Minio(
        endpoint=endpoint.netloc,
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        session_token=os.environ.get("AWS_SESSION_TOKEN"),
        region=os.environ.get("AWS_REGION", "us-east-1"),
        secure=endpoint.scheme == "https",
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=60),
            retries=Retry.of("object storage"),
            maxsize=16,
        ),
    )


class NoSuchObject(UserError):
    """The server answers, and the object is not there."""


@contextmanager
def errors(what: str) -> Iterator[None]:
    """Turn an S3 failure inside the block into one sentence about `what` (an address)."""
    try:
        yield
    except S3Error as error:
        kind = NoSuchObject if error.code == "NoSuchKey" else UserError
        raise kind(f"{what}: {_refusal(error, what)}") from error
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        server = os.environ.get("AWS_ENDPOINT_URL_S3")
        raise UserError(
            f"{what}: the S3 server at {server} does not answer: start it (`mlops platform up`) or correct AWS_ENDPOINT_URL_S3"
        ) from error
    except ValueError as error:  # minio-py refuses what no server would take
        raise UserError(f"{what} is not the address of an object: write s3://bucket/key") from error


def _refusal(error: S3Error, what: str) -> str:
    """Say what an S3 server refuses and why, with what it says of itself where the cure needs that."""
    cure = CURES.get(error.code or "")
    if cure is None:
        return f"{error.code}: {error.message or 'the S3 server says no more'}: look the code up in its documentation"
    text = f"{error.message} {getattr(error.response, 'data', b'')!r}"
    region = re.search(r"expecting '([\w-]+)'|<Region>([\w-]+)</Region>", text)
    endpoint = re.search(r"<Endpoint>([\w.:-]+)</Endpoint>", text)
    return cure.format(
        bucket=error.bucket_name or what,
        region=f", {region[1] or region[2]}" if region else "",
        endpoint=f", {endpoint[1]}" if endpoint else "",
    )


def read(uri: str) -> bytes:
    """Return a whole object: for small ones."""
    bucket, key = split(uri)
    with errors(uri):
        response = client().get_object(bucket, key)
        try:
            return response.data
        finally:
            response.close()
            response.release_conn()


def download(uri: str, path: Path) -> None:
    """Write an object to a file."""
    bucket, key = split(uri)
    with errors(uri):
        client().fget_object(bucket, key, str(path))


def write(uri: str, data: bytes, content_type: str = "application/octet-stream") -> None:
    """Put an object in one request: it is there whole or not at all."""
    bucket, key = split(uri)
    with errors(uri):
        client().put_object(bucket, key, io.BytesIO(data), len(data), content_type=content_type)


def upload(path: Path, uri: str) -> None:
    """Put a file, or every file below a folder under the address as a prefix; each object is there whole or not at all."""
    bucket, key = split(uri)
    with errors(uri):
        if not path.is_dir():
            client().fput_object(bucket, key, str(path))
            return
        from core.transfer import put  # only many objects are worth what it costs to start

        put(bucket, {f"{key}/{file.relative_to(path).as_posix()}": file for file in path.rglob("*") if file.is_file()})
