"""Validate: drift against the last run that succeeded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.validate import profile as profiles
from components.validate.contract import validate
from components.validate.drift import LEAST, change
from core.tracking import Run, end, parent
from tests.unit import small
from tests.unit.components.test_profile import of, seen
from tests.unit.contracts import CONTRACT, checked, run_of

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=4000)
A, B = ["a"] * 60 + ["b"] * 40, ["a"] * 30 + ["b"] * 70
PSI = 0.3 * math.log(0.6 / 0.3) + 0.3 * math.log(0.7 / 0.4)


def moved(folder: Path, before: Any, now: Any) -> Any:
    old = of(folder, before)
    return change(seen(folder, {"x": now}, {"x": old})["x"], old)


def after(folder: Path, before: Any, now: Any, promises: dict[str, Any] | None = None, **column: Any) -> list[str]:
    """What is wrong with a column `hue` after a run with other data."""
    kind = "string" if isinstance(before[0], str) else "number"
    first = run_of(hue={"type": kind, "nulls": 1})
    checked(first, {"hue": before}, folder)
    return checked(run_of(after=first, promises=promises, hue={"type": kind, "nulls": 1} | column), {"hue": now}, folder)


def test_the_index_of_texts_is_the_sum_over_the_texts(tmp_path: Path) -> None:
    found = moved(tmp_path, A, B)

    assert found.psi == pytest.approx(PSI)
    assert found.variation == pytest.approx(0.3)
    assert found.ks is None


def test_the_index_of_numbers_is_that_of_the_deciles_of_the_last_run(tmp_path: Path) -> None:
    shifted = NORMAL + 0.5

    found = moved(tmp_path, NORMAL, shifted)

    edges = np.quantile(NORMAL, np.arange(0.1, 1, 0.1), method="inverted_cdf")
    p, q = (np.bincount(np.searchsorted(edges, values, side="left"), minlength=10) / len(values) for values in (NORMAL, shifted))
    assert found.psi == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=0.02)


def test_the_greatest_difference_is_that_of_scipy_but_for_the_width_of_a_bin(tmp_path: Path) -> None:
    from scipy.stats import ks_2samp

    shifted = NORMAL * 1.3 + 0.2

    found = moved(tmp_path, NORMAL, shifted)

    exact = ks_2samp(NORMAL, shifted).statistic
    assert exact - 0.025 < found.ks <= exact + 1e-9


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param([0.0] * 9, [5.0] * 9, id="a constant that grew"),
        pytest.param([0.0] * 9, [-5.0] * 9, id="a constant that fell"),
        pytest.param([0.0] * 95 + list(np.arange(5.0)), [0.0] * 50 + list(np.arange(50.0)), id="more in a thin tail"),
        pytest.param(list(-np.arange(5.0)) + [0.0] * 95, list(-np.arange(50.0)) + [0.0] * 50, id="more in a thin tail below"),
        pytest.param([1, 2, 3] * 5, [11, 12, 13] * 5, id="beyond all bins"),
        pytest.param(["a"] * 9, ["b"] * 9, id="another text"),
    ],
)
def test_a_large_change_is_never_overlooked(tmp_path: Path, before: Any, now: Any) -> None:
    found = moved(tmp_path, before, now)

    assert found.psi > 0.25
    assert (found.ks or found.variation) > 0.4
    assert found.severity == "large"


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(NORMAL, id="numbers"),
        pytest.param(A, id="texts"),
        pytest.param([None, 1.0, 2.0], id="nulls"),
        pytest.param([3, 3], id="constant"),
    ],
)
def test_the_same_data_have_not_changed(tmp_path: Path, values: Any) -> None:
    found = moved(tmp_path, values, values)

    assert found.psi == pytest.approx(0)
    assert (found.ks or found.variation or 0) == pytest.approx(0)
    assert (found.nulls, found.new, found.gone, found.severity) == (0, [], [], "none")


def test_what_chance_alone_gives_is_no_change(tmp_path: Path) -> None:
    samples = [(RANDOM.normal(size=80), RANDOM.normal(size=80)) for _ in range(12)]

    found = [moved(tmp_path, one, other) for one, other in samples]

    assert max(each.psi for each in found) > 0.1
    assert [each.severity for each in found].count("none") >= 11


def test_new_and_vanished_texts_are_named(tmp_path: Path) -> None:
    found = moved(tmp_path, ["a"] * 50 + ["b"] * 50, ["a"] * 50 + ["c"] * 50)

    assert (found.new, found.gone) == (["c"], ["b"])


def test_a_text_beyond_those_that_were_kept_is_not_called_new(tmp_path: Path) -> None:
    many = [f"v{index}" for index in range(profiles.VALUES + 5)]

    found = moved(tmp_path, [*many, "w"], [*many, *["w"] * 9])

    assert found.new == []


def test_an_index_is_finite_where_a_text_vanishes(tmp_path: Path) -> None:
    found = moved(tmp_path, ["a"] * 50 + ["b"] * 50, ["a"] * 100)

    assert found.psi == pytest.approx(0.5 * math.log(1 / 0.5) + (0.5 - LEAST) * math.log(0.5 / LEAST))


def test_a_column_of_another_kind_is_compared_with_nothing(tmp_path: Path) -> None:
    assert moved(tmp_path, [1, 2], ["1", "2"]) is None


@pytest.mark.parametrize(
    ("before", "now", "drift", "said"),
    [
        pytest.param(A, B, {"psi": 0.3}, "its population stability index is 0.38", id="psi of texts"),
        pytest.param(A, B, {"psi": 0.4}, "", id="psi within its limit"),
        pytest.param(A, B, {"variation": 0.2}, "a share of 0.30 of the rows went to other values", id="variation"),
        pytest.param([1.0] * 5 + [2.0] * 5, [2.0] * 10, {"ks": 0.4}, "its distribution has moved by 0.50 (Kolmogorov-Smirnov)", id="ks"),
        pytest.param([1.0, 2.0], [1.0, None], {"nulls": 0.4}, "the share of nulls has changed by 0.50", id="more nulls"),
        pytest.param([1.0, None], [1.0, 1.0], {"nulls": 0.4}, "the share of nulls has changed by 0.50", id="fewer nulls"),
        pytest.param([1.0, 2.0], [1.0, None], {"nulls": 0.5}, "", id="nulls within their limit"),
        pytest.param(A, B, {}, "", id="no limit"),
    ],
)
def test_a_drift_beyond_its_limit_is_told(tmp_path: Path, before: Any, now: Any, drift: dict[str, float], said: str) -> None:
    found = after(tmp_path, before, now, drift=drift)

    limit = next(iter(drift.values()), 0)
    assert len(found) == bool(said)
    assert all(text.startswith(f"bad data: wine.hue: {said} against the last run that succeeded, the contract allows {limit}") for text in found)
    assert all(text.endswith(CONTRACT) for text in found)


def test_a_limit_of_the_table_holds_for_columns_without_one_of_their_own(tmp_path: Path) -> None:
    limits = {"drift": {"variation": 0.2}}

    assert after(tmp_path, A, B, limits) == [
        "bad data: wine.hue: a share of 0.30 of the rows went to other values "
        f"against the last run that succeeded, the contract allows 0.2 {CONTRACT}"
    ]
    assert after(tmp_path, A, B, limits, drift={}) == []
    assert after(tmp_path, A, B, limits, drift={"variation": 0.4}) == []


def test_what_came_and_went_is_named_in_the_sentence(tmp_path: Path) -> None:
    found = after(tmp_path, ["a", "b"], ["a", "c"], drift={"variation": 0.4})

    assert "the contract allows 0.4 (new c; gone b) (" in found[0]


def test_the_first_run_drifts_from_nothing(tmp_path: Path) -> None:
    run = run_of(promises={"drift": {"psi": 0.01, "nulls": 0.01}}, hue={"type": "number"})

    assert checked(run, {"hue": [1.0, 2.0]}, tmp_path) == []


def test_a_limit_on_texts_too_many_to_compare_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "DISTINCT", 10)
    ids = [f"id-{index}" for index in range(100)]

    found = after(tmp_path, ids, ids, drift={"psi": 0.2})

    assert found[0].startswith("bad data: wine.hue: about ")
    assert "different texts are too many to tell drift by: remove its limits of psi and variation" in found[0]


def test_a_profile_of_another_form_is_not_compared_with(tmp_path: Path) -> None:
    first = run_of(hue={"type": "string"})
    first.artifacts["profile.json"] = b'{"form": 0, "tables": {"wine": {"other": 1}}}'

    assert checked(run_of(after=first, hue={"type": "string", "drift": {"psi": 0.1}}), {"hue": ["a"]}, tmp_path) == []


def test_drift_is_measured_from_the_last_run_that_succeeded(tmp_path: Path, platform: Any, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usecase = small.usecase(contract={"rows": {"columns": {"kind": {"type": "string", "drift": {"variation": 0.2}}}}})
    for name, data, status in (("one", A, "FINISHED"), ("two", B, "FAILED")):
        monkeypatch.setenv("KFP_RUN_ID", f"{run_id}-{name}")
        small.written(tmp_path / "rows.parquet", {"kind": data})
        run = Run(
            "validate",
            usecase.model_copy(update={"contract": small.usecase(contract={"rows": {"columns": {"kind": {"type": "string"}}}}).contract}),
            live=True,
        )
        validate(run, str(tmp_path), str(tmp_path / "page.html"))
        run.close("FINISHED")
        end(parent(usecase), status)  # type: ignore[arg-type]

    monkeypatch.setenv("KFP_RUN_ID", f"{run_id}-three")
    small.written(tmp_path / "rows.parquet", {"kind": A})
    run = Run("validate", usecase, live=True)
    validate(run, str(tmp_path), str(tmp_path / "page.html"))

    assert run.metrics["violations"] == 0  # as it would not be against the second
    end(parent(usecase), "FINISHED")
