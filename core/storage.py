"""Object storage: any server that speaks S3, through minio-py."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from core import s3_connection
from core.errors import UserError

BUCKETS = ("data", "pipelines", "mlflow", "models", "predictions")
PREFIX = "MLOPS_STORAGE"  # the address that each name of BUCKETS is appended to; the default, s3://, makes each a bucket
PREFIXES = re.compile(r"s3://([a-z0-9][a-z0-9.-]*(/[A-Za-z0-9._-]+)*[/-])?")
FULL = "make room, such as by deleting artifacts of old runs below {artifacts}, or have the limit raised"
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


def root(name: str) -> str:
    """Return the address below which one kind of objects is stored.

    Args:
        name: One of `BUCKETS`.

    Raises:
        UserError: MLOPS_STORAGE is not an address that a name can follow.
    """
    prefix = os.environ.get(PREFIX) or "s3://"
    if not PREFIXES.fullmatch(prefix):
        raise UserError(f"{PREFIX} is {prefix}: write an S3 address that ends with / or -, such as s3://acme/ml/ or s3://acme-")
    return prefix + name


def artifacts() -> str:
    """Return the address below which Kubeflow and the runners store the artifacts of runs."""
    return f"{root('pipelines')}/kfp"


def client() -> Minio:
    """Connect to the S3 server that the environment names.

    Raises:
        UserError: The environment names no server or no credentials.
    """
    server = s3_connection.endpoint()
    s3_connection.require_credentials()
    return Minio(
        endpoint=server.netloc,
        credentials=s3_connection.credentials(),
        region=s3_connection.region(),
        secure=server.scheme == "https",
        http_client=s3_connection.pool(server.geturl()),
    )


def is_configured() -> bool:
    """Tell whether the environment names a server and credentials."""
    try:
        s3_connection.endpoint()
        s3_connection.require_credentials()
    except UserError:
        return False
    return True


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
        raise UserError(f"{what}: {_unreachable(error)}") from error
    except ValueError as error:  # minio-py refuses what no server would take
        if "fetch credential" in str(error):
            cure = "correct AWS_PROFILE and its file, or the role of AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE"
            raise UserError(f"{what}: the environment names credentials of object storage, but none can be read: {cure}") from error
        raise UserError(f"{what} is not the address of an object: write s3://bucket/key") from error


def _unreachable(error: Exception) -> str:
    server = s3_connection.endpoint().geturl()
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"the certificate of the S3 server at {server} is not trusted: set AWS_CA_BUNDLE or SSL_CERT_FILE to a file with its CA certificate"
    return f"the S3 server at {server} does not answer: start it (`mlops platform up`) or correct AWS_ENDPOINT_URL_S3"


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
        artifacts=artifacts(),
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
