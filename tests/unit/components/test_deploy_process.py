"""What is written down of a model server on this machine."""

from pathlib import Path

import pytest

from components.deploy.local import LocalDeployer
from core.config import Serving
from core.errors import UserError
from local.platform import down, status


@pytest.mark.parametrize("text", [pytest.param("{", id="cut off"), pytest.param('{"usecase": "wine", "port": "x"}', id="other types")])
def test_a_damaged_record_of_a_model_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "wine.json").write_text(text)

    with pytest.raises(UserError, match=r"wine\.json is damaged: end that model server"):
        LocalDeployer("wine", Serving()).serving()
    with pytest.raises(UserError, match=r"wine\.json is damaged: end that model server"):
        down()
    assert [(server.name, server.state) for server in status()] == [("s3", "down"), ("mlflow", "down"), ("serving/wine", "damaged")]
