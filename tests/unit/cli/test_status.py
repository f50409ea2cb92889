"""The status of all use cases: one whose records are damaged hides no other."""

from pathlib import Path

import pytest

from cli.serve import status
from core import champion_record, storage
from core.errors import UserError
from local.platform import Platform


def test_a_damaged_record_hides_no_other_use_case(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("status-damaged", "status-whole"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"name: {name}\n")
    monkeypatch.setattr("core.configfile.FOLDER", tmp_path)
    storage.write(champion_record.address("status-damaged"), b"{", "application/json")

    with pytest.raises(UserError) as refused:
        status(None, None)

    assert "\nstatus-whole: no champion; unfinished: " in capsys.readouterr().out
    assert str(refused.value).startswith("status-damaged: s3://models/status-damaged/champion.json is damaged: delete it")
