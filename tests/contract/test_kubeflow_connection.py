"""Certificates and proxies on the way to Kubeflow."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from core.certificates import USUAL
from core.errors import UserError
from pipelines.kubeflow import CERTIFICATE, connect
from tests.contract.kubeflow import Kubeflow
from tests.forward_proxy import forward_proxy
from tests.https_server import secured


@pytest.fixture
def certificate(kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Kubeflow behind a certificate of its own; the path of that."""
    for variable in (CERTIFICATE, *USUAL):
        monkeypatch.delenv(variable, raising=False)
    kubeflow.socket = secured(kubeflow.socket, tmp_path)
    monkeypatch.setenv("KFP_ENDPOINT", kubeflow.url.replace("http:", "https:"))
    return str(tmp_path / "certificate.pem")


@pytest.mark.parametrize("variable", [CERTIFICATE, *USUAL])
def test_private_ca_is_trusted_by_each_variable(certificate: str, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, certificate)

    assert connect(None, None).namespace is None


def test_untrusted_certificate_is_named_as_such(certificate: str) -> None:
    with pytest.raises(UserError, match=r"its certificate is not trusted \([^)]+\): set KFP_SSL_CA_CERT or SSL_CERT_FILE"):
        connect(None, None)


def test_missing_ca_bundle_is_named(certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    with pytest.raises(UserError, match=r"SSL_CERT_FILE names /nowhere/ca.pem, which is no file"):
        connect(None, None)


def test_proxy_of_the_environment_is_used_with_its_login(kubeflow: Kubeflow, certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("KFP_ENDPOINT", f"https://localhost.localdomain:{urlsplit(kubeflow.url).port}")
    with forward_proxy() as proxy:
        monkeypatch.setenv("https_proxy", f"http://ada:secret@127.0.0.1:{proxy.server_port}")

        with pytest.raises(UserError, match="its certificate is not trusted") as refused:  # it names localhost alone
            connect(None, None)

        assert proxy.logins == ["Basic YWRhOnNlY3JldA=="]  # type: ignore[attr-defined]
    assert "secret" not in str(refused.value)


def test_proxy_that_does_not_answer_is_named_without_its_login(kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://ada:secret@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")

    with pytest.raises(UserError, match=r"through the proxy http://127.0.0.1:9 at http://kubeflow.example.com: the proxy does not answer") as refused:
        connect("kubeflow.example.com", None)

    assert "secret" not in str(refused.value)


def test_host_in_no_proxy_is_reached_directly(kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "localtest.invalid")

    with pytest.raises(UserError, match=r"cannot be reached at http://localtest.invalid: the host name is unknown"):
        connect("localtest.invalid", None)
