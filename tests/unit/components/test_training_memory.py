"""What training needs of memory, computed before it is used: refused in a sentence, sampled, or learnt in batches."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from components.train.allowance import Allowance, allowance, shown
from components.train.fit import fit
from components.train.learner import Learner
from components.train.memory import Budget
from components.train.survey import Survey, survey
from core.bundle import load_model
from core.config import UseCase
from core.errors import UserError
from core.tracking import Run
from tests.unit import small

TREES = {"numeric": "passthrough", "categorical": "ordinal"}
SGD = {"estimator": "sklearn.linear_model.SGDClassifier", "parameters": {"loss": "log_loss"}}
LINEAR = {"estimator": "sklearn.linear_model.LogisticRegression", "parameters": {"max_iter": 5}}
BOOSTING = {
    "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
    "preprocessing": TREES,
    "parameters": {"max_iter": 3, "early_stopping": True},
}
FOREST = {"estimator": "sklearn.ensemble.RandomForestClassifier", "preprocessing": TREES, "parameters": {"n_estimators": 4, "min_samples_leaf": 3}}
MANY = Survey({"train": 67_000_000, "validation": 10_000, "test": 10_000}, {"train": [0, 1], "validation": [0, 1]}, {"kind": 300}, 60_000)
PLENTY = Allowance(2**60, "buy more")
CHILD = """
import json, resource, sys
from components.train.fit import fit
from core.configtext import parse
from core.errors import UserError
from core.tracking import Run

config, table, folder, virtual = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
if virtual:
    resource.setrlimit(resource.RLIMIT_AS, (virtual, virtual))
run, sentence = Run("train", parse(config)), ""
try:
    fit(run, table, folder + "/model.skops", folder + "/trials.html")
except UserError as error:
    sentence = str(error)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({"sentence": sentence, "peak": peak, "summary": run.summary, "expected": run.metrics.get("expected_memory_mib")}))
"""


def budget(usecase: UseCase, allowed: int, found: Survey = MANY) -> Budget:
    return Budget(usecase, found, Allowance(allowed, "raise limits.steps.train.memory"))


def need(usecase: UseCase, rows: int, found: Survey = MANY) -> int:
    return Budget(usecase, found, PLENTY).need("only", rows)


def only(candidate: dict[str, Any], **changes: Any) -> UseCase:
    return small.usecase(train__candidates={"only": candidate}, train__max_trials=1, **changes)


def test_what_does_not_fit_is_refused_with_what_to_set() -> None:
    usecase = only(LINEAR)

    with pytest.raises(UserError) as refused:
        budget(usecase, need(usecase, 18_400_000)).rows()

    assert str(refused.value).startswith("train: 67,000,000 rows x 3 columns need about 1")
    assert " GB for only, the step has " in str(refused.value)
    assert str(refused.value).endswith(
        ": raise limits.steps.train.memory, set train.max_rows to about 18,000,000 or to fit, "
        "or choose an estimator with partial_fit, such as SGDClassifier"
    )


def test_as_many_rows_as_fit_are_drawn_if_the_config_says_so() -> None:
    usecase = only(LINEAR, train__max_rows="fit")

    rows = budget(usecase, need(usecase, 18_400_000)).rows()

    assert rows == 18_000_000


def test_a_number_that_does_not_fit_either_is_refused() -> None:
    usecase = only(LINEAR, train__max_rows=40_000_000)

    with pytest.raises(UserError, match="train: 40,000,000 rows x 3 columns need about"):
        budget(usecase, need(usecase, 18_400_000)).rows()


@pytest.mark.parametrize("most", [None, "fit"])
def test_an_estimator_that_learns_in_batches_gets_all_rows(most: str | None) -> None:
    usecase = only(SGD, train__max_rows=most)
    made = budget(usecase, need(usecase, 1_000_000))

    rows = made.rows()

    assert rows == 67_000_000
    assert not made.holds("only", rows)


def test_every_candidate_learns_from_the_same_rows() -> None:
    usecase = small.usecase(train__candidates={"only": LINEAR, "sgd": SGD}, train__max_rows="fit")

    rows = budget(usecase, need(usecase, 1_000_000)).rows()

    assert rows <= 1_000_000


@pytest.mark.parametrize("most", [None, "fit"])
def test_a_step_without_memory_for_any_row_is_refused(most: str | None) -> None:
    with pytest.raises(UserError) as refused:
        budget(only(LINEAR, train__max_rows=most), 2**20).rows()

    assert "the step has 1.0 MB: raise limits.steps.train.memory, or choose" in str(refused.value)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        pytest.param(LINEAR, LINEAR | {"preprocessing": {"numeric": "standard"}} | BOOSTING | {"preprocessing": {}}, id="one-hot, dense"),
        pytest.param(BOOSTING, FOREST, id="a forest's trees grow with the rows"),
        pytest.param(FOREST | {"parameters": {"max_depth": 5}}, FOREST, id="unless their depth is bounded"),
        pytest.param(FOREST, FOREST | {"parameters": {}, "search": {"n_estimators": {"int": [10, 500]}}}, id="the largest of the search"),
    ],
)
def test_an_estimator_needs_what_its_kind_needs(less: dict[str, Any], more: dict[str, Any]) -> None:
    assert need(only(less), 1_000_000) < need(only(more), 1_000_000)


@pytest.mark.parametrize("most", [0, -5, 1.5, "all", True])
def test_a_number_of_rows_that_is_none_is_refused(most: Any) -> None:
    with pytest.raises(UserError, match=r"train\.max_rows: write a number of rows above 0, or fit"):
        small.usecase(train__max_rows=most)


def test_the_config_bounds_what_the_step_may_use() -> None:
    found = allowance(small.usecase(limits__steps__train__memory="300Mi"))

    assert found == Allowance(300 * 2**20, "raise limits.steps.train.memory")


@pytest.mark.parametrize(("size", "text"), [(14.2e9, "14 GB"), (4.29e9, "4.3 GB"), (734e6, "734 MB"), (9.9e6, "9.9 MB"), (10, "0.0 kB")])
def test_a_size_has_two_digits(size: float, text: str) -> None:
    assert shown(size) == text


def test_the_table_is_counted_before_it_is_read(tmp_path: Path) -> None:
    found = survey(small.written(tmp_path / "table.parquet", small.columns()), small.usecase())

    assert found.rows == {"train": 360, "validation": 120, "test": 120}
    assert found.classes == {"train": [0, 1], "validation": [0, 1], "test": [0, 1]}
    assert found.distinct == {"kind": 3}


def test_a_sample_is_told_wherever_the_model_is(tmp_path: Path) -> None:
    usecase = only({"estimator": "sklearn.neighbors.KNeighborsClassifier"}, train__max_rows=100)
    run, table = Run("train", usecase), small.written(tmp_path / "table.parquet", small.columns())

    fit(run, table, str(tmp_path / "model.skops"), str(tmp_path / "trials.html"))

    assert load_model((tmp_path / "model.skops").read_bytes())[-1].n_samples_fit_ == 100
    assert run.summary.endswith("fitted on 100 of 480 rows of train and validation, seed 1")
    assert (run.parameters["fitted_on"], run.metrics["rows.fitted"]) == ("100 of 480 rows of train and validation, seed 1", 100)
    assert "fitted on 100 of 480 rows of train and validation, seed 1." in (tmp_path / "trials.html").read_text()


@pytest.mark.parametrize("rows", [pytest.param(36_000, id="all"), pytest.param(30_000, id="a sample")])
def test_in_batches_every_row_is_learnt_from_again_and_again(tmp_path: Path, rows: int) -> None:
    usecase, table = only(SGD), small.written(tmp_path / "table.parquet", small.columns(rows=60_000))
    found = survey(table, usecase)
    learner = Learner(table, usecase, found, budget(usecase, 1, found))

    first, again = (learner.fit("only", {}, rows) for _ in range(2))

    assert first[-1].t_ == 1 + -(-1_000_000 // rows) * rows
    assert np.array_equal(first[-1].coef_, again[-1].coef_)
    assert learner.score(first) > 0.9


@pytest.mark.parametrize(
    ("task", "estimator", "guess"),
    [
        pytest.param("regression", {"estimator": "sklearn.linear_model.SGDRegressor"}, 2.5, id="regression"),
        pytest.param("multiclass", SGD, 0.8, id="texts as classes"),
        pytest.param("multiclass", {"estimator": "sklearn.naive_bayes.GaussianNB", "preprocessing": {"categorical": "ordinal"}}, 0.8, id="dense"),
    ],
)
def test_other_estimators_learn_in_batches_too(tmp_path: Path, task: str, estimator: dict[str, Any], guess: float) -> None:
    usecase = small.usecase(task, train__candidates={"only": estimator}, train__max_trials=1)
    table = small.written(tmp_path / "table.parquet", small.columns(task, rows=50_000))
    found = survey(table, usecase)
    learner = Learner(table, usecase, found, budget(usecase, 1, found))

    model = learner.fit("only", {}, 30_000)

    assert learner.score(model) < guess
    assert task == "regression" or list(model.classes_) == ["high", "low", "mid"]


def large(folder: Path, rows: int) -> str:
    """21 columns of noise, nine of ten rows to learn from."""
    numbers = ", ".join(f"hash(i * 31 + {place}) % 1000003 / 1000003 AS n{place}" for place in range(15))
    texts = ", ".join(f"'c' || (hash(i * 17 + {place}) % {count}) AS c{place}" for place, count in enumerate((3, 12, 40, 100, 200, 600)))
    split = "CASE i % 20 WHEN 0 THEN 'validation' WHEN 1 THEN 'test' ELSE 'train' END AS split"
    duckdb.execute(
        f"COPY (SELECT {numbers}, {texts}, (hash(i) % 1000 / 1000 < hash(i * 31) % 1000003 / 1000003)::INT AS answer, {split} "
        f"FROM range({rows}) t(i)) TO '{folder}/table.parquet' (FORMAT parquet)"
    )
    return f"{folder}/table.parquet"


def trained_elsewhere(folder: Path, table: str, candidate: dict[str, Any], memory: str, virtual: int = 0, **changes: Any) -> dict[str, Any]:
    features = {"numeric": [f"n{place}" for place in range(15)], "categorical": [f"c{place}" for place in range(6)]}
    document = small.document(
        features=features, train__candidates={"only": candidate}, train__max_trials=1, evaluate={"floor": 0.5}, limits__steps__train__memory=memory
    )
    command = [sys.executable, "-c", CHILD, json.dumps(small.changed(document, **changes)), table, str(folder), str(virtual)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_a_table_that_is_too_large_is_refused_before_a_row_of_it_is_read(tmp_path: Path) -> None:
    table = large(tmp_path, 400_000)

    found = trained_elsewhere(tmp_path, table, BOOSTING, "640Mi")

    assert found["sentence"].startswith("train: 360,000 rows x 21 columns need about ")
    assert "the step has 671 MB: raise limits.steps.train.memory, set train.max_rows to about" in found["sentence"]
    assert found["peak"] < 400
    assert not (tmp_path / "model.skops").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("candidate", "memory", "changes"),
    [
        pytest.param(BOOSTING, "2Gi", {}, id="histogram boosting"),
        pytest.param(LINEAR, "2Gi", {}, id="one-hot columns, sparse"),
        pytest.param(FOREST, "2Gi", {"train__max_rows": 60_000}, id="a forest"),
        pytest.param(SGD, "680Mi", {}, id="in batches"),
        pytest.param(LINEAR, "700Mi", {"train__max_rows": "fit"}, id="as many rows as fit"),
    ],
)
def test_what_is_accepted_needs_no_more_than_was_computed(tmp_path: Path, candidate: dict[str, Any], memory: str, changes: dict[str, Any]) -> None:
    table = large(tmp_path, 400_000)

    found = trained_elsewhere(tmp_path, table, candidate, memory, **changes)

    assert not found["sentence"]
    assert found["peak"] < found["expected"] < {"2Gi": 2048, "680Mi": 680, "700Mi": 700}[memory]
    assert ("fitted on" in found["summary"]) == bool(changes)


@pytest.mark.slow
def test_a_limit_of_the_shell_is_heeded_beforehand(tmp_path: Path) -> None:
    table = large(tmp_path, 400_000)

    found = trained_elsewhere(tmp_path, table, BOOSTING, "4Gi", virtual=1_600_000_000)

    assert ": raise the limit that ulimit -v shows, set train.max_rows to about" in found["sentence"]


@pytest.mark.slow
def test_an_allocation_that_is_refused_ends_in_a_sentence(tmp_path: Path) -> None:
    table = large(tmp_path, 400_000)

    found = trained_elsewhere(tmp_path, table, BOOSTING, "4Gi", virtual=1_900_000_000)

    assert found["sentence"].startswith("the memory does not suffice, the step has ") or found["peak"] < found["expected"]
