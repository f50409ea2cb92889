"""LightGBM by its import path: trained, written, loaded and registered like scikit-learn's own; without the extra, a sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.evaluate.golden import choose as choose_golden
from components.register.engine import choose
from components.register.register import prove, served_form
from components.train.fit import fit
from components.train.pipeline import build
from core.bundle import load_model, pack
from core.codecheck import code_problems, estimator
from core.config import UseCase
from core.errors import UserError
from core.examples import examples
from core.tracking import Run
from tests.unit import small

KIND = {"binary": "Classifier", "multiclass": "Classifier", "regression": "Regressor"}
ORDINAL = {"numeric": "passthrough", "categorical": "ordinal"}


def boosted(task: str = "binary", **parameters: Any) -> UseCase:
    candidate = {"estimator": f"lightgbm.LGBM{KIND[task]}", "preprocessing": ORDINAL, "parameters": {"n_estimators": 60} | parameters}
    return small.usecase(task, train__candidates={"boosting": candidate}, train__max_trials=1)


def fitted(usecase: UseCase, folder: Path, name: str = "model") -> tuple[Any, str, float]:
    table = small.written(folder / "table.parquet", small.columns(usecase.task))
    value = fit(Run("train", usecase), table, str(folder / f"{name}.skops"), str(folder / "trials.html"))
    return load_model((folder / f"{name}.skops").read_bytes()), table, value


@pytest.mark.extras
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_model_goes_from_training_to_a_proven_served_form(tmp_path: Path, task: str) -> None:
    usecase = boosted(task)

    model, table, value = fitted(usecase, tmp_path)
    rows, _ = examples(table, usecase, "test")
    golden = choose_golden(usecase, rows, model)
    chosen = choose(served_form(usecase, model, golden), model, rows)

    assert (value > 0.85) if task == "binary" else (value < {"multiclass": 0.8, "regression": 3.0}[task])
    assert chosen.bundle.manifest.engine == "scikit-learn"
    assert "lightgbm" in chosen.bundle.manifest.versions
    assert chosen.sentence.startswith("scikit-learn: ")
    prove(pack(chosen.bundle), golden)


@pytest.mark.extras
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(tmp_path: Path) -> None:
    one, _, _ = fitted(boosted(n_jobs=1, subsample=0.5, subsample_freq=1), tmp_path, "one")
    fitted(boosted(n_jobs=2, subsample=0.5, subsample_freq=1), tmp_path, "two")
    again, table, _ = fitted(boosted(n_jobs=2, subsample=0.5, subsample_freq=1), tmp_path, "again")

    rows, _ = examples(table, boosted(), "test")
    assert (tmp_path / "again.skops").read_bytes() == (tmp_path / "two.skops").read_bytes()
    assert np.array_equal(one.predict_proba(rows), again.predict_proba(rows))


@pytest.mark.extras
def test_parameters_that_it_refuses_cost_a_trial(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"all 1 trials failed, the first with: .*num_leaves"):
        fitted(boosted(num_leaves=1), tmp_path)


@pytest.mark.extras
@pytest.mark.parametrize("positive", ["bad", "good"])
def test_monotone_constraints_are_of_the_positive_class(tmp_path: Path, positive: str) -> None:
    usecase = boosted(monotone_constraints={"x": -1}).model_copy(update={"positive": positive})
    answer = np.where(small.columns()["answer"] == 1, "bad", "good")
    table = small.written(tmp_path / "table.parquet", small.columns() | {"answer": answer})

    fit(Run("train", usecase), table, str(tmp_path / "model.skops"), str(tmp_path / "trials.html"))

    model = load_model((tmp_path / "model.skops").read_bytes())
    rows = pd.DataFrame({"x": np.linspace(-3, 3, 50), "y": 0.0, "kind": "a"})
    assert (np.diff(model.predict_proba(rows)[:, ["bad", "good"].index(positive)]) <= 0).all()


@pytest.mark.extras
def test_the_seed_and_what_makes_it_repeatable_reach_it() -> None:
    usecase = boosted()

    model = build(usecase.train.candidates["boosting"], usecase.features, {}, 42)[-1]

    assert {key: model.get_params()[key] for key in ("random_state", "deterministic", "force_row_wise")} == {
        "random_state": 42,
        "deterministic": True,
        "force_row_wise": True,
    }


def test_without_the_extra_the_config_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "lightgbm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightgbm", None)

    with pytest.raises(UserError) as refused:
        estimator("lightgbm.LGBMClassifier")
    problems = [problem for problem in code_problems(boosted(), "nowhere") if "estimator" in problem.path]

    assert str(refused.value) == (
        "lightgbm.LGBMClassifier needs the extra lightgbm, which is not installed: run `make add EXTRAS=lightgbm`, "
        "and build the image with EXTRAS=lightgbm"
    )
    assert [problem.message for problem in problems] == [str(refused.value)]


@pytest.mark.extras
def test_without_the_extra_a_server_says_what_its_image_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(boosted(), tmp_path)
    data = (tmp_path / "model.skops").read_bytes()
    for name in [name for name in sys.modules if name.partition(".")[0] == "lightgbm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightgbm", None)

    with pytest.raises(UserError, match="the model needs lightgbm, which is not installed: build the image with EXTRAS=lightgbm"):
        load_model(data)
