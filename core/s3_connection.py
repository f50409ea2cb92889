"""How this process reaches object storage: endpoint, certificates and credentials, by the names and in the order that AWS's own tools use."""

import functools
import os
from datetime import UTC
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import urllib3
from minio.credentials.providers import AWSConfigProvider, ChainedProvider, EnvAWSProvider, IamAwsProvider, Provider

from core.certificates import ca_bundle, proxy
from core.errors import UserError
from core.retry import Retry

if TYPE_CHECKING:
    from obstore.store import S3Credential

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
STS = "AWS_ENDPOINT_URL_STS"  # where a web identity is exchanged; AWS's own, or for another S3 server that server
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
ELSEWHERE = (  # any of these says that credentials come from somewhere else
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
ROLE = "AWS_EC2_METADATA_DISABLED"  # `false` lets an instance's role be asked for
CONNECT_SECONDS, READ_SECONDS = 5, 60


def endpoint() -> SplitResult:
    """Return the server's address: of AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else AWS itself if a region is named.

    Raises:
        UserError: None is named, or it is no address.
    """
    variable = next((name for name in ENDPOINTS if os.environ.get(name)), "")
    address = os.environ[variable] if variable else f"https://s3.{region()}.amazonaws.com" if os.environ.get("AWS_REGION") else ""
    if not address:
        raise UserError(f"object storage is not configured: set {ENDPOINTS[0]} (`mlops platform env` prints the local one)")
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise UserError(f"{variable} is no address ({error}): write the server alone, such as https://s3.example.com") from error
    if "@" in parts.netloc:
        raise UserError(f"{variable} holds a name or password: remove it, {KEYS[0]} and {KEYS[1]} are for that")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise UserError(f"{variable} is {address}: write the server alone, such as https://s3.example.com")
    return parts


def region() -> str:
    """Return the region."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def require_credentials() -> None:
    """Refuse an environment that names no credentials, before a metadata server is waited for.

    Raises:
        UserError: A variable is missing.
    """
    missing = [name for name in KEYS if not os.environ.get(name)]
    if not missing or any(os.environ.get(name, "") not in ("", os.devnull) for name in ELSEWHERE) or os.environ.get(ROLE) == "false":
        return
    others = "or AWS_PROFILE, or AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE"
    raise UserError(f"object storage is not configured: set {', '.join(missing)} ({others}; `mlops platform env` prints the local ones)")


def credentials() -> Provider:
    """Return where the credentials come from: keys, a profile, a web identity, a container's or an instance's role."""
    return _provider(tuple(os.environ.get(name, "") for name in (*KEYS, *ELSEWHERE, "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", STS, *ENDPOINTS)))


@functools.cache
def _provider(_environment: tuple[str, ...]) -> Provider:
    """Return one provider for an environment: it keeps what it was given until that expires."""
    own_server = not (endpoint().hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
    has_token = bool(os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"))
    sts = os.environ.get(STS) or (endpoint().geturl() if own_server and has_token else None)
    http = pool(sts or (endpoint().geturl() if has_token else ""))  # the metadata server of a node is never behind a proxy
    return ChainedProvider([EnvAWSProvider(), AWSConfigProvider(), IamAwsProvider(custom_endpoint=sts, http_client=http, region=region())])


def current() -> "S3Credential":
    """Return credentials as obstore takes them."""
    now = credentials().retrieve()
    return {
        "access_key_id": now.access_key,
        "secret_access_key": now.secret_key,
        "token": now.session_token,
        "expires_at": now.expiration.replace(tzinfo=UTC) if now.expiration else None,
    }


def certificates() -> str | None:
    """Return the CA bundle of the server's certificate, None for the usual authorities."""
    return ca_bundle("AWS_CA_BUNDLE")


def pool(address: str) -> urllib3.PoolManager:
    """Return an HTTP client with our time limits, retries and certificates, and the proxy for an address."""
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        "retries": Retry.of("object storage"),
        "maxsize": 16,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": certificates(),  # None: those of this machine
    }
    server, headers = proxy(address)
    return urllib3.ProxyManager(server, proxy_headers=headers, **options) if server else urllib3.PoolManager(**options)
