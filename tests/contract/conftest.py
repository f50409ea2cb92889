"""A Kubeflow that the tests can look into."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.kubeflow import Kubeflow


@pytest.fixture
def kubeflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kubeflow]:
    monkeypatch.delenv("KFP_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with Kubeflow() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("KFP_ENDPOINT", server.url)
        yield server
        server.shutdown()
