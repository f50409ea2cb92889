"""Object storage of others: one bucket and prefix, a private CA, and every way to credentials, on a real MinIO with TLS."""

import base64
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from minio import Minio, MinioAdmin
from minio.credentials.providers import AssumeRoleProvider, StaticProvider

from core import champion_record, s3_connection, storage, transfer
from core.calls import pinned
from core.errors import UserError
from core.processes import free_port
from tests.forward_proxy import forward_proxy
from tests.https_server import write_certificate
from tests.manifests.build import RIG

ROOT = ("root", "administrator")
USER = ("ml-team", "password-of-ml-team")
BUCKET, PREFIX = "acme", "ml/team-a"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": [f"arn:aws:s3:::{BUCKET}/{PREFIX}/*"]},
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{BUCKET}"],
            "Condition": {"StringLike": {"s3:prefix": [f"{PREFIX}/*"]}},
        },
    ],
}


@dataclass(frozen=True)
class Server:
    """A MinIO with a certificate of its own, which knows one user and the tokens of one issuer."""

    address: str
    certificate: str
    issuer: "Issuer"


class Issuer(http.server.ThreadingHTTPServer):
    """An OpenID provider, as a cluster is for its ServiceAccounts; and an endpoint of container credentials."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.key = rsa.generate_private_key(65537, 2048)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.credentials: dict[str, str] = {}

    def token(self) -> str:
        """Return a token of the ServiceAccount of steps."""
        claims = {"iss": self.url, "aud": "minio", "sub": "system:serviceaccount:mlops:pipeline", "exp": int(time.time()) + 3600, "policy": USER[0]}
        signed = f"{encoded(json.dumps({'alg': 'RS256', 'kid': 'one'}).encode())}.{encoded(json.dumps(claims).encode())}"
        return f"{signed}.{encoded(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        numbers, url = self.server.key.public_key().public_numbers(), self.server.url
        public = {name: encoded(value.to_bytes((value.bit_length() + 7) // 8, "big")) for name, value in (("n", numbers.n), ("e", numbers.e))}
        documents: dict[str, Any] = {
            "/.well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/keys", "authorization_endpoint": url, "token_endpoint": url},
            "/keys": {"keys": [{"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig"} | public]},
            "/credentials": self.server.credentials,
        }
        body = json.dumps(documents[self.path]).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    binary = shutil.which("minio") or shutil.which("minio", path=str(RIG))
    if not binary:
        pytest.skip("minio is not on the PATH: its users and tokens cannot be tried")
    folder = tmp_path_factory.mktemp("minio")
    write_certificate(folder)
    certificates = folder / "certificates"
    certificates.mkdir()
    shutil.copy(folder / "server.pem", certificates / "public.crt")
    shutil.copy(folder / "key.pem", certificates / "private.key")
    port = free_port()
    command = [binary, "server", str(folder / "data"), "--address", f"127.0.0.1:{port}", "--certs-dir", str(certificates), "--quiet"]
    with Issuer() as issuer:
        threading.Thread(target=issuer.serve_forever, args=(0.05,), daemon=True).start()
        settings = {
            "MINIO_ROOT_USER": ROOT[0],
            "MINIO_ROOT_PASSWORD": ROOT[1],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "HOME": str(folder),
            "MINIO_IDENTITY_OPENID_CONFIG_URL": f"{issuer.url}/.well-known/openid-configuration",
            "MINIO_IDENTITY_OPENID_CLIENT_ID": "minio",
        }
        process = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.DEVNULL)
        running = Server(f"https://127.0.0.1:{port}", str(folder / "certificate.pem"), issuer)
        try:
            prepare(running)
            yield running
        finally:
            process.terminate()
            process.wait()
            issuer.shutdown()


def prepare(server: Server) -> None:
    """Make the bucket and the user, who may use one prefix of it."""
    pool = urllib3.PoolManager(ca_certs=server.certificate, retries=urllib3.Retry(40, backoff_factor=0.1, backoff_max=0.5))
    netloc = server.address.removeprefix("https://")
    Minio(endpoint=netloc, access_key=ROOT[0], secret_key=ROOT[1], region="us-east-1", http_client=pool).make_bucket(BUCKET)
    admin = MinioAdmin(endpoint=netloc, credentials=StaticProvider(*ROOT), region="us-east-1", http_client=pool)
    admin.policy_add(USER[0], policy=POLICY)
    admin.user_add(*USER)
    admin.policy_set(USER[0], user=USER[0])


@pytest.fixture
def environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The server and its certificate, and no credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.address)
    monkeypatch.setenv("AWS_CA_BUNDLE", server.certificate)
    monkeypatch.setenv("MLOPS_STORAGE", f"s3://{BUCKET}/{PREFIX}/")
    return monkeypatch


def round_trip(folder: Path) -> None:
    """Use both clients: for single objects and for bulk transfers."""
    champion_record.write("flights", "3", "sha256:0")
    assert champion_record.read("flights") == champion_record.ChampionRecord("3", "sha256:0")
    (folder / "file").write_bytes(b"content")
    bucket, key = storage.split(f"{storage.artifacts()}/run/file")
    transfer.put(bucket, {key: folder / "file"})
    (item,) = storage.client().list_objects(bucket, prefix=key)
    transfer.get(bucket, {folder / "copy": pinned(item)})
    assert (folder / "copy").read_bytes() == b"content"


def test_user_of_one_bucket_and_prefix_is_enough(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", USER[0])
    environment.setenv("AWS_SECRET_ACCESS_KEY", USER[1])

    round_trip(tmp_path)

    assert champion_record.address("flights") == "s3://acme/ml/team-a/models/flights/champion.json"
    environment.setenv("MLOPS_STORAGE", "s3://acme/other/")
    with pytest.raises(UserError, match=r"acme/other/models/flights/champion\.json: access denied"):
        champion_record.write("flights", "3", "sha256:0")


def test_proxy_with_a_login_is_used_by_both_clients(environment: pytest.MonkeyPatch, server: Server, tmp_path: Path) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", USER[0])
    environment.setenv("AWS_SECRET_ACCESS_KEY", USER[1])
    environment.setenv("AWS_ENDPOINT_URL_S3", server.address.replace("127.0.0.1", "server.example.test"))
    for variable in ("NO_PROXY", "no_proxy"):
        environment.delenv(variable, raising=False)
    with forward_proxy() as proxy:
        environment.setenv("HTTPS_PROXY", f"http://ada:se%3Acret@127.0.0.1:{proxy.server_port}")

        round_trip(tmp_path)

        logins: list[str] = proxy.logins  # type: ignore[attr-defined]
        assert len(logins) >= 2
        assert set(logins) == {f"Basic {base64.b64encode(b'ada:se:cret').decode()}"}


def test_session_token_goes_with_the_keys(environment: pytest.MonkeyPatch, server: Server, tmp_path: Path) -> None:
    lent = session(server)
    environment.setenv("AWS_ACCESS_KEY_ID", lent["AccessKeyId"])
    environment.setenv("AWS_SECRET_ACCESS_KEY", lent["SecretAccessKey"])
    environment.setenv("AWS_SESSION_TOKEN", lent["Token"])

    round_trip(tmp_path)


def test_profile_of_a_credentials_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"[ml]\naws_access_key_id = {USER[0]}\naws_secret_access_key = {USER[1]}\n")
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    environment.setenv("AWS_PROFILE", "ml")

    round_trip(tmp_path)


def test_profile_that_cannot_be_read_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "missing"))
    environment.setenv("AWS_PROFILE", "team")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(UserError, match="names credentials of object storage, but none can be read: correct AWS_PROFILE"):
        champion_record.read("flights")


def test_web_identity_of_a_service_account(environment: pytest.MonkeyPatch, server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(server.issuer.token())
    environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))

    round_trip(tmp_path)


def test_role_of_a_container(environment: pytest.MonkeyPatch, server: Server, tmp_path: Path) -> None:
    server.issuer.credentials = session(server)
    environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.issuer.url}/credentials")

    round_trip(tmp_path)


def session(server: Server) -> dict[str, str]:
    """Return credentials for an hour, as a metadata service gives them."""
    pool = urllib3.PoolManager(ca_certs=server.certificate)
    lent = AssumeRoleProvider(sts_endpoint=server.address, access_key=USER[0], secret_key=USER[1], region="us-east-1", http_client=pool).retrieve()
    expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3000))
    return {"AccessKeyId": lent.access_key, "SecretAccessKey": lent.secret_key, "Token": str(lent.session_token), "Expiration": expiration}


def test_untrusted_certificate_is_named_as_such(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("AWS_CA_BUNDLE")
    environment.setenv("AWS_ACCESS_KEY_ID", USER[0])
    environment.setenv("AWS_SECRET_ACCESS_KEY", USER[1])

    with pytest.raises(UserError, match=r"the certificate of the S3 server at https://127.* is not trusted: set AWS_CA_BUNDLE or SSL_CERT_FILE"):
        storage.read("s3://acme/file")


def test_environment_without_credentials_says_what_to_set(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY .or AWS_PROFILE, or AWS_ROLE_ARN"):
        storage.client()
    assert not storage.is_configured()


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        pytest.param({"AWS_REGION": "eu-central-1"}, "https://s3.eu-central-1.amazonaws.com", id="AWS by its region"),
        pytest.param({"AWS_ENDPOINT_URL": "https://s3.example.com"}, "https://s3.example.com", id="the endpoint of all services"),
    ],
)
def test_endpoint_by_the_names_that_aws_tools_know(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert s3_connection.endpoint().geturl() == address


@pytest.mark.parametrize("prefix", ["s3://acme", "acme/", "s3:///", "s3://acme//ml/", "https://acme/"])
def test_storage_prefix_that_is_not_an_address_is_refused(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("MLOPS_STORAGE", prefix)

    with pytest.raises(UserError, match=r"MLOPS_STORAGE is .*: write an S3 address that ends with / or -"):
        storage.root("models")


@pytest.mark.parametrize(
    ("prefix", "root"), [("", "s3://models"), ("s3://acme-", "s3://acme-models"), ("s3://acme/ml/team-", "s3://acme/ml/team-models")]
)
def test_storage_prefix_precedes_each_name(monkeypatch: pytest.MonkeyPatch, prefix: str, root: str) -> None:
    monkeypatch.setenv("MLOPS_STORAGE", prefix)

    assert storage.root("models") == root
