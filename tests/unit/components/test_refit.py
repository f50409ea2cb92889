"""refit: the judged model's pipeline on all rows, and golden rows with its answers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from kfp import dsl

from components.evaluate.golden import choose
from components.register.register import prove, served_form
from components.train import component
from components.train.fit import fit
from components.train.refit import refit
from core.bundle import Golden, load_model, pack
from core.configtext import parse
from core.errors import UserError
from core.examples import examples
from core.fitted import unseen, write_fitted
from core.tracking import Run
from local.platform import Platform
from tests.unit import small


def test_the_served_model_and_its_golden_rows_are_those_of_the_last_fit(tmp_path: Path) -> None:
    candidates = {"forest": {"estimator": "sklearn.ensemble.RandomForestClassifier", "parameters": {"n_estimators": 5}}}
    usecase = small.usecase(train__refit="all", train__candidates=candidates, train__max_trials=1)
    table, judged, golden = small.written(tmp_path / "table.parquet", small.columns()), tmp_path / "judged", tmp_path / "golden"
    fit(Run("train", usecase), table, str(judged), str(tmp_path / "trials.html"))
    before = choose(usecase, examples(table, usecase, "test")[0], load_model(judged.read_bytes()))
    golden.write_text(json.dumps(asdict(before)))
    run = Run("refit", usecase)

    refit(run, "forest", table, str(judged), str(golden), str(tmp_path / "model"), str(tmp_path / "answers"))

    first, last = (load_model(path.read_bytes())[-1] for path in (judged, tmp_path / "model"))
    after = Golden(**json.loads((tmp_path / "answers").read_text()))
    assert [int(forest.estimators_[0].tree_.weighted_n_node_samples[0]) for forest in (first, last)] == [480, 600]
    assert last.get_params() == first.get_params()
    assert after.rows == before.rows and not np.array_equal(after.predict_proba or [], before.predict_proba or [])
    prove(pack(served_form(usecase, load_model((tmp_path / "model").read_bytes()), after)), after)
    assert run.parameters["fitted_on"] == "600 rows of train, validation and test"


def test_rows_that_the_estimator_refuses_end_the_last_fit_with_a_sentence(tmp_path: Path) -> None:
    plain = {"numeric": "passthrough", "categorical": "ordinal"}
    candidates = {"counts": {"estimator": "sklearn.naive_bayes.MultinomialNB", "preprocessing": plain}}
    usecase = small.usecase(train__refit="all", train__candidates=candidates, train__max_trials=1, features={"numeric": ["y"]}, evaluate__slices=[])
    data, judged, golden = small.columns(), tmp_path / "judged", tmp_path / "golden"
    data["y"] = np.where(data["split"] == "test", -1.0, np.abs(data["y"]))  # of which there are no negative counts
    table = small.written(tmp_path / "table.parquet", data)
    fit(Run("train", usecase), table, str(judged), str(tmp_path / "trials.html"))

    with pytest.raises(UserError, match=r"counts cannot be fitted on 600 rows: Negative values in data .*: set train\.refit"):
        refit(Run("refit", usecase), "counts", table, str(judged), str(golden), str(tmp_path / "model"), str(tmp_path / "answers"))


def test_a_model_says_which_splits_it_has_seen(platform: Platform, run_id: str, tmp_path: Path) -> None:
    candidates = {"linear": {"estimator": "sklearn.linear_model.LogisticRegression"}}
    config = small.config(train__refit="none", train__candidates=candidates, train__max_trials=1)
    table = dsl.Dataset(uri=small.written(tmp_path / "table.parquet", small.columns()))
    judged, last = (dsl.Model(uri=str(tmp_path / name)) for name in ("judged", "last"))
    rows, golden = (dsl.Dataset(uri=str(tmp_path / name)) for name in ("rows", "golden"))

    line = dsl.Markdown(uri=str(tmp_path / "line.md"))
    component.train.python_func(config, table, judged, dsl.HTML(uri=str(tmp_path / "trials.html")), line)
    chosen = choose(parse(config), examples(table.path, parse(config), "test")[0], load_model(Path(judged.path).read_bytes()))
    Path(rows.path).write_text(json.dumps(asdict(chosen)))
    component.refit.python_func(config, table, judged, rows, last, golden, line)

    assert (judged.metadata["seen"], last.metadata["seen"]) == ("train+validation", "all")


def test_a_champion_that_was_fitted_on_all_rows_has_seen_the_test_rows(tmp_path: Path) -> None:
    usecase, table = small.usecase(train__refit="all"), small.written(tmp_path / "table.parquet", small.columns())

    write_fitted(usecase, table, "all", tmp_path / "fitted.parquet")

    assert not unseen(usecase, table, tmp_path / "fitted.parquet").any()
