"""Hints: what in a column of text is often a mistake, with the line that cures it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.validate import profile as profiles
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
        sights = profile(connection, Path(path), columns(connection, path), len(next(iter(data.values()))), {}, csv)
        return [hint for name, sight in sights.items() for hint in hints(name, sight.texts, csv)]


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (" work", ["a", "b"], "its name ' work' has blanks around it: csv: {strip: true}"),
        ("work", [" State-gov", "Private"], "such as ' State-gov': csv: {strip: true}"),
        ("work", ["?", "Private"], """'?' may mean missing: csv: {missing: ["NA", "?"]}"""),
        ("work", ["NA", "Private"], "'NA' may mean missing: nullif('NA') in features()"),
        ("work", ["Private", "private"], "look alike: spell them alike in features()"),
        ("town", ["New York", "New\u00a0York"], r"'New York' and 'New\xa0York' look alike"),
        ("town", ["New York", "New  York"], "'New  York' and 'New York' look alike"),
        ("town", ["caf\u00e9", "cafe\u0301"], r"'cafe\u0301' and 'caf\xe9' look alike"),
        ("town", ["\uff21", "A"], "'A' and '\uff21' look alike"),
        ("hp", ["1", "2.5", "?"], """all but 1 of 3 values are numbers: if '?' means missing, write csv: {missing: ["NA", "?"]}"""),
        ("hp", [*"1234567890" * 2, "x", "y"], """if 'x' and 'y' mean missing, write csv: {missing: ["NA", "x", "y"]}"""),
        ("hp", [*"1234567890", "a;b"], "write try_cast('float64') in features()"),
    ],
)
def test_what_is_often_a_mistake_is_pointed_out_with_its_cure(tmp_path: Path, name: str, values: list[str], words: str) -> None:
    (hint,) = found(tmp_path, {name: values})

    assert words in hint


@pytest.mark.parametrize("most", [10_000, 90])
def test_all_texts_count_and_not_the_frequent_ones_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(profiles, "ALIKE", most)
    rows = 400
    data = {
        "hp": [*(str(index % 150) for index in range(rows - 1)), "?"],
        "town": [*(f"town{index % 100}" for index in range(rows - 1)), " town5"],
        "kind": [*(f"kind{index % 80}" for index in range(rows - 3)), "Kind5", "Kind5", "n/a"],
    }

    hints_found = found(tmp_path, data)

    assert len(hints_found) == 4
    assert "all but 1 of 400 values are numbers" in hints_found[0]
    assert "such as ' town5'" in hints_found[1]
    assert """'n/a' may mean missing: csv: {missing: ["NA", "n/a"]}""" in hints_found[2]
    assert "'kind5' and 'Kind5' look alike" in hints_found[3]


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["01", "?", *"123456789"], id="codes"),
        pytest.param([*"1234", "low"], id="too few numbers"),
        pytest.param([*"1234567890" * 10, *"abcdef"], id="many texts"),
    ],
)
def test_columns_of_text_are_not_taken_for_numbers(tmp_path: Path, texts: list[str]) -> None:
    assert not any("are numbers" in hint for hint in found(tmp_path, {"code": texts}))


@pytest.mark.parametrize(
    ("csv", "texts", "words"),
    [
        (Csv(decimal=","), ["1,5", "2,5", "-"], """all but 1 of 3 values are numbers: if '-' means missing, write csv: {missing: ["NA", "-"]}"""),
        (DEFAULT, ["1", "2", " ?"], """if ' ?' means missing, write csv: {missing: ["NA", "?"]}"""),
        (None, ["1", "2", "?"], "if '?' means missing, write try_cast('float64') in features()"),
    ],
)
def test_texts_among_numbers_are_cured_as_the_source_is_written(tmp_path: Path, csv: Csv | None, texts: list[str], words: str) -> None:
    assert words in found(tmp_path, {"x": texts}, csv)[-1]


def test_a_marker_with_and_without_blanks_is_named_once(tmp_path: Path) -> None:
    texts = [" ?", "?", "a", " NA"]

    assert """'?' may mean missing: csv: {missing: ["NA", "?"]}""" in found(tmp_path, {"work": texts})
    assert not any("may mean missing" in hint for hint in found(tmp_path, {"work": [" ?", "a"]}, Csv(missing=("?",))))  # strip cures it
    assert "'?' may mean missing: nullif('?') in features()" in found(tmp_path, {"work": texts[1:]}, Csv(missing=("?",)))


def test_other_files_are_cured_in_features(tmp_path: Path) -> None:
    assert found(tmp_path, {"work": ["?", "a"]}, None) == ["'?' may mean missing: nullif('?') in features()"]


def test_plain_columns_have_no_hints(tmp_path: Path) -> None:
    texts = ["a", "b" * 79 + " " + "b", None]  # cut behind the blank

    assert found(tmp_path, {"work": texts, "x": [1.0, 2.0, None]}) == []


def test_a_proposed_contract_has_the_hints(tmp_path: Path) -> None:
    usecase, _ = check_draft({"name": "wine", "sources": {"wine": "wine.csv"}})
    small.written(tmp_path / "wine.parquet", {" work": ["?", "a"]})
    assert usecase is not None

    assert "#  work: '?' may mean missing" in propose(usecase, str(tmp_path))
