"""Which test rows a verdict may be given on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.evaluate.rows import MIN_UNITS, judged_rows
from components.register.register import store_fitted
from core.config import UseCase
from core.errors import UserError
from core.registry import Version
from core.storage import read, write
from local.platform import Platform
from tests.unit import small

BY_GROUP = {"key": None, "split": {"by": "group", "column": "customer"}}


def grouped(path: Path, groups: int, moved: int = 0) -> str:
    """600 rows, of which the 120 test rows are of so many groups; so many of these groups were for training before."""
    data = small.columns()
    number = np.arange(600) % groups
    data["customer"] = np.where(data["split"] == "test", number, number + 1000)
    if moved:
        data["split"] = np.where(data["customer"] < moved, "train", data["split"])
    return small.written(path, data)


def champion(usecase: UseCase, table: str) -> Version:
    return Version(usecase.name, "1", "", "", "", fitted=store_fitted(usecase, table, "train+validation"))


@pytest.mark.parametrize(("groups", "refused"), [(1, True), (MIN_UNITS - 1, True), (MIN_UNITS + 1, False)])
def test_few_groups_of_many_rows_give_no_verdict(tmp_path: Path, groups: int, refused: bool) -> None:
    usecase, table = small.usecase(**BY_GROUP), grouped(tmp_path / "table.parquet", groups)

    judged = judged_rows(usecase, table, 120, None)

    assert (f"test rows are of {groups} values of customer, fewer than {MIN_UNITS}" in judged.refusal) == refused


def test_groups_count_after_those_of_the_champion_were_left_out(platform: Platform, tmp_path: Path) -> None:
    usecase, table = small.usecase(**BY_GROUP), grouped(tmp_path / "table.parquet", 12)
    before = champion(usecase, grouped(tmp_path / "before.parquet", 12, moved=3))

    judged = judged_rows(usecase, table, 120, before)

    assert "90 test rows that version 1 was not fitted on are of 9 values of customer, fewer" in judged.refusal


def test_a_champions_set_that_was_deleted_gives_no_verdict(platform: Platform, binary_table: str) -> None:
    usecase = small.usecase()
    gone = Version(usecase.name, "1", "", "", "", fitted=f"s3://models/{usecase.name}/gone.parquet")

    assert "is not known: s3://models/" in judged_rows(usecase, binary_table, 120, gone).refusal


def test_a_champions_set_that_was_replaced_gives_no_verdict(platform: Platform, tmp_path: Path) -> None:
    usecase, table = small.usecase(**BY_GROUP), grouped(tmp_path / "table.parquet", 12)
    before, other = champion(usecase, table), champion(usecase, grouped(tmp_path / "other.parquet", 12, moved=1))
    write(before.fitted, read(other.fitted))

    assert f"{before.fitted} was changed after the registration" in judged_rows(usecase, table, 120, before).refusal


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        pytest.param("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", "does not answer", id="S3 is down"),
        pytest.param("AWS_SECRET_ACCESS_KEY", "wrong", "secret key is wrong", id="wrong credentials"),
    ],
)
def test_a_failure_to_read_the_champions_set_is_no_verdict(
    platform: Platform, binary_table: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    usecase = small.usecase()
    before = champion(usecase, binary_table)
    monkeypatch.setenv(variable, value)

    with pytest.raises(UserError, match=sentence):
        judged_rows(usecase, binary_table, 120, before)


@pytest.fixture
def binary_table(tmp_path: Path) -> str:
    return small.written(tmp_path / "table.parquet", small.columns())
