"""Hints: what in a column of text is often a mistake, with the line that cures it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.validate.hints import hints
from components.validate.profile import profile
from components.validate.proposal import propose
from core.configcheck import check_draft
from core.csvoptions import DEFAULT, Csv
from core.tables import columns, connect
from tests.unit import small


def found(folder: Path, data: dict[str, Any], csv: Csv | None = DEFAULT) -> list[str]:
    path = small.written(folder / "rows.parquet", data) or folder / "rows.parquet"
    with connect("64MB") as connection:
        sights = profile(connection, Path(path), columns(connection, path), len(next(iter(data.values()))), {})
        return [hint for name, sight in sights.items() for hint in hints(name, sight.now, csv)]


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (" work", ["a", "b"], "its name ' work' has blanks around it: csv: {strip: true}"),
        ("work", [" State-gov", "Private"], "such as ' State-gov': csv: {strip: true}"),
        ("work", ["?", "Private"], """'?' may mean missing: csv: {missing: ["NA", "?"]}"""),
        ("work", ["NA", "Private"], "'NA' may mean missing: nullif('NA') in features()"),
        ("work", ["Private", "private"], "look alike: spell them alike in features()"),
    ],
)
def test_what_is_often_a_mistake_is_pointed_out_with_its_cure(tmp_path: Path, name: str, values: list[str], words: str) -> None:
    (hint,) = found(tmp_path, {name: values})

    assert words in hint


def test_a_marker_with_and_without_blanks_is_named_once(tmp_path: Path) -> None:
    texts = [" ?", "?", "a", " NA"]

    assert """'?' may mean missing: csv: {missing: ["NA", "?"]}""" in found(tmp_path, {"work": texts})
    assert not any("may mean missing" in hint for hint in found(tmp_path, {"work": [" ?", "a"]}, Csv(missing=("?",))))  # strip cures it
    assert "'?' may mean missing: nullif('?') in features()" in found(tmp_path, {"work": texts[1:]}, Csv(missing=("?",)))


def test_other_files_are_cured_in_features(tmp_path: Path) -> None:
    assert found(tmp_path, {"work": ["?", "a"]}, None) == ["'?' may mean missing: nullif('?') in features()"]


def test_plain_columns_have_no_hints(tmp_path: Path) -> None:
    assert found(tmp_path, {"work": ["a", "b", None], "x": [1.0, 2.0, None]}) == []


def test_a_proposed_contract_has_the_hints(tmp_path: Path) -> None:
    usecase, _ = check_draft({"name": "wine", "sources": {"wine": "wine.csv"}})
    small.written(tmp_path / "wine.parquet", {" work": ["?", "a"]})
    assert usecase is not None

    assert "#  work: '?' may mean missing" in propose(usecase, str(tmp_path))
