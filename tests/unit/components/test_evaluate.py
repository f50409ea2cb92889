"""evaluate: who answers better on the same rows, how sure that is, and what is left for the next steps."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score

from components.evaluate.compare import Comparison, compare, dummy
from components.evaluate.golden import choose
from components.evaluate.judge import Verdict, decide, judge
from components.register.register import served_form, store_fitted
from components.train.fit import fit
from core import registry
from core.bundle import Bundle, Golden, Input, load_model
from core.config import Features, UseCase
from core.errors import ChampionMissing, UserError
from core.examples import examples, target
from core.fitted import units_of
from core.metrics import Predictions, score
from core.mlflow_api import call
from core.predict import predict
from core.tracking import Run
from local.platform import Platform
from tests.unit import models, small
from tests.unit.components.conftest import Trained


def evaluated(usecase: UseCase, table: str, model: str, folder: Path) -> tuple[Run, Verdict]:
    run = Run("evaluate", usecase)
    paths = [str(folder / name) for name in ("metrics", "curves", "page.html", "golden")]
    return run, judge(run, table, model, *paths)


def crowned(bundle: Bundle, binary: Trained) -> None:
    """Make a champion of a served form, fitted on the training and validation rows of the table."""
    version = models.published(bundle)
    registry.tag(version, {"fitted.uri": store_fitted(binary.named(name=bundle.manifest.name), binary.table, "train+validation")})
    registry.promote(version, "it is better")


def answers(right: float, rows: int = 2000, seed: int = 0) -> Predictions:
    """A classifier that is right on that share of the rows."""
    random = np.random.default_rng(seed)
    truth = random.integers(2, size=rows)
    hit = random.random(rows) < right
    probability = np.where(hit == (truth == 1), 0.8, 0.2)
    return Predictions(truth, (probability > 0.5).astype(int), np.column_stack([1 - probability, probability]), (0, 1))


def test_a_first_model_is_judged_by_the_dummy_and_the_floor(platform: Platform, trained: Trained, tmp_path: Path) -> None:
    run, verdict = evaluated(trained.named(), trained.table, trained.model, tmp_path)

    assert verdict.better and verdict.champion == ""
    assert run.tags["reason"].startswith("the challenger becomes the first champion: ")
    assert run.tags["judged_against"] == "a dummy"
    assert {name.removeprefix("test.") for name in run.metrics if name.startswith("test.")} == verdict.metrics.keys()


def test_everything_is_of_the_positive_class_and_names_it(platform: Platform, risk: Trained, tmp_path: Path) -> None:
    model = load_model(Path(risk.model).read_bytes())
    rows, truth = examples(risk.table, risk.usecase, "test")
    bad = model.predict_proba(rows)[:, 0]

    run, verdict = evaluated(risk.named(), risk.table, risk.model, tmp_path)

    f1, precision = f1_score(truth, model.predict(rows), pos_label="bad"), average_precision_score(truth == "bad", bad)
    assert (run.metrics["test.f1"], run.metrics["test.average_precision"]) == pytest.approx((f1, precision), abs=1e-12)
    assert run.metrics["rival.average_precision"] == pytest.approx((truth == "bad").mean(), abs=1e-12)
    assert f"average precision of bad {precision:.4f} against" in run.tags["reason"]
    assert run.tags["positive_class"] == "bad"
    expected = confusion_matrix(truth, model.predict(rows), labels=["good", "bad"]).tolist()
    assert verdict.confusion == (["good", "bad"], expected)
    text = (tmp_path / "page.html").read_text()
    titles = ("Positive class: <b>bad</b>", "F1 of bad", "ROC of bad", "Precision and recall of bad", "Calibration of bad")
    assert [title for title in titles if title not in text] == []


def test_a_first_model_that_misses_the_floor_does_not_serve(platform: Platform, binary: Trained, tmp_path: Path) -> None:
    strict = binary.usecase.evaluate.model_copy(update={"floor": 0.9999})

    run, verdict = evaluated(binary.named(evaluate=strict), binary.table, binary.model, tmp_path)

    assert not verdict.better
    assert run.tags["reason"].startswith("no champion: the challenger misses the floor of 0.9999")


def test_against_itself_a_challenger_is_not_better_and_the_difference_is_zero(
    platform: Platform, binary: Trained, bundle: Bundle, tmp_path: Path
) -> None:
    crowned(bundle, binary)

    run, verdict = evaluated(binary.named(name=bundle.manifest.name), binary.table, binary.model, tmp_path)

    assert (verdict.better, verdict.champion) == (False, "1")
    assert run.tags["reason"].startswith("the champion stays: ")
    assert [run.metrics[key] for key in ("difference", "difference_low", "difference_high")] == [0, 0, 0]
    assert run.metrics["rival.roc_auc"] == run.metrics["test.roc_auc"]


def test_the_champion_is_not_judged_on_rows_that_it_was_fitted_on(platform: Platform, binary: Trained, bundle: Bundle, tmp_path: Path) -> None:
    crowned(bundle, binary)
    moved = np.resize(["test", "train", "train", "validation", "test"], 600)  # of 240 test rows, 120 were for training before
    table = small.written(tmp_path / "table.parquet", small.columns() | {"split": moved})
    fresh = np.flatnonzero(moved == "test")[1::2]

    run, verdict = evaluated(binary.named(name=bundle.manifest.name), table, binary.model, tmp_path)

    rows, truth = examples(table, binary.usecase, "test")
    answers = predict(load_model(Path(binary.model).read_bytes()), rows.iloc[1::2], truth[1::2], binary.usecase)
    assert len(fresh) == 120 and verdict.metrics["roc_auc"] == score("roc_auc", answers)
    assert (run.metrics["rows.judged"], run.metrics["rows.left_out"]) == (120, 120)
    assert "judged on 120 of 240 test rows: version 1 was fitted on the others" in run.summary
    assert "judged on 120 of 240 test rows" in run.tags["reason"] and "judged on 120 of 240" in (tmp_path / "page.html").read_text()


def test_with_a_split_by_group_the_interval_is_that_of_whole_groups(platform: Platform, binary: Trained, tmp_path: Path) -> None:
    usecase = binary.named(key=None, split=small.usecase(key=None, split={"by": "group", "column": "customer"}).split)
    table = small.written(tmp_path / "table.parquet", small.columns() | {"customer": np.arange(600) // 20})

    run, _ = evaluated(usecase, table, binary.model, tmp_path)

    own = predict(load_model(Path(binary.model).read_bytes()), *examples(table, usecase, "test"), usecase)
    rival = dummy(usecase, target(table, usecase, "train"), own)
    of_groups, of_rows = compare(usecase, own, rival, units_of(usecase, table)), compare(usecase, own, rival)
    assert (run.metrics["difference_low"], run.metrics["difference_high"]) == (of_groups.low, of_groups.high)
    assert of_groups != of_rows


def test_a_split_by_time_without_a_baseline_is_pointed_out_until_there_is_a_champion(
    platform: Platform, binary: Trained, bundle: Bundle, tmp_path: Path
) -> None:
    by_time = {"key": None, "split": small.usecase(split={"by": "time", "column": "at"}).split}
    named = binary.usecase.evaluate.model_validate(binary.usecase.evaluate.model_dump(exclude_unset=True) | {"baseline": None})
    columns = small.columns()
    columns["at"] = np.array([["train", "validation", "test"].index(split) for split in columns["split"]])
    table = small.written(tmp_path / "table.parquet", columns)
    page, words = tmp_path / "page.html", "name evaluate.baseline, or write null"

    first, _ = evaluated(binary.named(**by_time), table, binary.model, tmp_path)
    told = page.read_text()
    silent, _ = evaluated(binary.named(**by_time, evaluate=named), table, binary.model, tmp_path)
    untold = page.read_text()
    version = models.published(bundle)
    later_usecase = binary.named(name=version.name, **by_time)
    registry.tag(version, {"fitted.uri": store_fitted(later_usecase, table, "train+validation")})
    registry.promote(version, "it is better")
    later, verdict = evaluated(later_usecase, table, binary.model, tmp_path)

    assert [words in run.summary for run in (first, silent, later)] == [True, False, False]
    assert ["names no baseline" in text for text in (told, untold)] == [True, False]
    assert verdict.champion == "1"


@pytest.mark.parametrize(
    ("changes", "knows", "sentence"),
    [
        pytest.param(
            {"split": ["test", "train", "validation"] * 200},
            True,
            "are left that version 1 was not fitted on, fewer than evaluate.min_rows 130: wait",
        ),
        pytest.param(
            {"split": ["test", "train", "train", "train", "validation"] * 120},
            True,
            "only 0 of 120 test rows are left that version 1 was not fitted on",
        ),
        pytest.param({}, False, "which test rows version 1 was fitted on is not known: it was registered without that. Register the challenger with"),
        pytest.param({"y": np.arange(600)}, True, "the column y of features() is a BIGINT, which was a DOUBLE. Register the challenger with"),
    ],
    ids=["too few", "none", "no set", "another key"],
)
def test_a_verdict_on_unknown_or_too_few_rows_is_refused(
    platform: Platform, binary: Trained, bundle: Bundle, tmp_path: Path, changes: dict[str, object], knows: bool, sentence: str
) -> None:
    if knows:
        crowned(bundle, binary)
    else:
        registry.promote(models.published(bundle), "it is better")
    usecase = binary.named(name=bundle.manifest.name, evaluate=binary.usecase.evaluate.model_copy(update={"min_rows": 130}))
    table = small.written(tmp_path / "table.parquet", small.columns() | changes)

    run, verdict = evaluated(usecase, table, binary.model, tmp_path)

    assert (verdict.better, verdict.champion) == (False, "1")
    assert run.tags["reason"].startswith("the champion stays: ") and sentence in run.tags["reason"]
    assert run.tags["judged_against"] == "a dummy"


def test_new_rows_of_one_class_give_no_verdict(platform: Platform, binary: Trained, bundle: Bundle, tmp_path: Path) -> None:
    crowned(bundle, binary)
    columns = small.columns()
    is_test, is_one = columns["split"] == "test", columns["answer"] == 1
    moved = np.where(is_test & ~is_one, "train", np.where(~is_test & (np.arange(600) < 100), "test", columns["split"]))
    usecase = binary.named(name=bundle.manifest.name, evaluate=binary.usecase.evaluate.model_copy(update={"min_rows": 10}))

    run, verdict = evaluated(usecase, small.written(tmp_path / "table.parquet", columns | {"split": moved}), binary.model, tmp_path)

    assert not verdict.better
    assert f"roc_auc cannot be computed on the {(is_test & is_one).sum()} test rows that version 1 was not fitted on" in run.tags["reason"]


@pytest.mark.parametrize("anyway", [False, True])
@pytest.mark.parametrize("is_known", [True, False], ids=["version deleted", "MLflow without the model"])
def test_without_its_champion_a_challenger_never_becomes_the_first(
    platform: Platform, binary: Trained, bundle: Bundle, tmp_path: Path, is_known: bool, anyway: bool
) -> None:
    crowned(bundle, binary)
    name = bundle.manifest.name
    if is_known:
        call("DELETE", "model-versions/delete", {"name": name, "version": "1"})
    else:
        call("POST", "registered-models/rename", {"name": name, "new_name": f"{name}-renamed"})
    sentence = f"version 1 was the champion of {name}" if is_known else f"version 1 of {name} should serve"
    usecase = binary.named(name=bundle.manifest.name, evaluate=binary.usecase.evaluate.model_copy(update={"register_anyway": anyway}))

    if anyway:
        run, verdict = evaluated(usecase, binary.table, binary.model, tmp_path)
        assert not verdict.better
        assert run.tags["reason"].startswith(f"no verdict without the champion: {sentence}")
    else:
        with pytest.raises(ChampionMissing, match=f"{sentence}.*--register-anyway"):
            evaluated(usecase, binary.table, binary.model, tmp_path)


@pytest.mark.parametrize("anyway", [False, True])
def test_a_champion_that_needs_a_column_that_is_gone_is_named(
    platform: Platform, binary: Trained, bundle: Bundle, tmp_path: Path, anyway: bool
) -> None:
    inputs = (*bundle.manifest.inputs, Input("gone", "FP64"))
    rows = [row | {"gone": 1.0} for row in bundle.golden.rows]
    golden = Golden(rows, bundle.golden.predict, bundle.golden.predict_proba)
    crowned(dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, inputs=inputs), golden=golden), binary)

    usecase = binary.named(name=bundle.manifest.name, evaluate=binary.usecase.evaluate.model_copy(update={"register_anyway": anyway}))

    if anyway:
        run, verdict = evaluated(usecase, binary.table, binary.model, tmp_path)
        assert (verdict.better, verdict.champion) == (False, "1")
        assert run.tags["reason"].startswith("the champion stays: version 1 cannot be asked: the table has no column gone")
    else:
        with pytest.raises(UserError, match=r"version 1, cannot be asked: the table has no column gone.* --register-anyway`"):
            evaluated(usecase, binary.table, binary.model, tmp_path)


def test_test_rows_of_one_class_give_no_verdict(platform: Platform, binary: Trained, tmp_path: Path) -> None:
    table = pq.read_table(binary.table).to_pandas()
    table.loc[table["split"] == "test", "answer"] = 1
    table.to_parquet(tmp_path / "table.parquet")

    with pytest.raises(UserError, match=r"roc_auc cannot be computed on the \d+ test rows: none has answer = 0, at least 1 must"):
        evaluated(binary.named(), str(tmp_path / "table.parquet"), binary.model, tmp_path)


def test_a_challenger_that_cannot_answer_the_test_rows_is_named(platform: Platform, tmp_path: Path) -> None:
    plain = {"numeric": "passthrough", "categorical": "ordinal"}
    candidates = {"counts": {"estimator": "sklearn.naive_bayes.CategoricalNB", "preprocessing": plain}}
    usecase = small.usecase(train__candidates=candidates, train__max_trials=1, features={"numeric": ["y"]}, evaluate__slices=[])
    columns = small.columns()
    columns["y"] = np.where(columns["split"] == "test", 7.0, columns["answer"])  # a category that training never saw
    table, model = small.written(tmp_path / "table.parquet", columns), str(tmp_path / "model")
    fit(Run("train", usecase), table, model, str(tmp_path / "trials.html"))

    sentence = r"^CategoricalNB cannot answer the test rows: IndexError: index 7 is out of bounds .*: correct train\.candidates$"
    with pytest.raises(UserError, match=sentence):
        evaluated(usecase, table, model, tmp_path)


def test_what_is_written_is_finite_and_the_golden_rows_have_holes_and_answers(platform: Platform, trained: Trained, tmp_path: Path) -> None:
    run, verdict = evaluated(trained.named(), trained.table, trained.model, tmp_path)

    curves, golden = json.loads((tmp_path / "curves").read_text()), json.loads((tmp_path / "golden").read_text())
    assert json.loads((tmp_path / "metrics").read_text()) == verdict.metrics
    assert np.isfinite(np.array(curves["roc"] or [0])).all()
    assert (curves["roc"] is not None) == (trained.usecase.task == "binary")
    assert (curves["confusion"] is None) == (trained.usecase.task == "regression")
    assert any(row["x"] is None for row in golden["rows"]) and any(row["kind"] is None for row in golden["rows"])
    model = load_model(Path(trained.model).read_bytes())
    assert len(golden["predict"]) == len(golden["rows"]) == 40
    assert (golden["predict_proba"] is None) == (not hasattr(model, "predict_proba"))
    assert all(svg.startswith(b"<?xml") for name, svg in run.artifacts.items() if name.startswith("plots/"))
    assert (tmp_path / "page.html").read_text().count("<svg") == sum(name.startswith("plots/") for name in run.artifacts)


@pytest.mark.parametrize(
    ("metric", "better", "worse"),
    [pytest.param("accuracy", 0.9, 0.7, id="greater is better"), pytest.param("log_loss", 0.9, 0.7, id="less is better")],
)
def test_the_interval_lies_on_the_side_of_the_better_one(metric: str, better: float, worse: float) -> None:
    usecase = small.usecase("binary", metric=metric)

    ahead, behind = compare(usecase, answers(better), answers(worse)), compare(usecase, answers(worse), answers(better))

    assert 0 < ahead.low < ahead.difference < ahead.high
    assert behind.low < behind.difference < behind.high < 0


def test_pairing_makes_the_interval_narrower_than_two_separate_ones() -> None:
    usecase, first = small.usecase("binary", metric="accuracy"), answers(0.8)
    assert first.probabilities is not None
    labels = first.labels.copy()
    labels[:20] = 1 - labels[:20]
    nearly = first._replace(labels=labels)

    paired, separate = compare(usecase, first, nearly), compare(usecase, first, answers(0.8, seed=1)._replace(truth=first.truth))

    assert paired.high - paired.low < (separate.high - separate.low) / 2


def test_the_same_seed_gives_the_same_interval() -> None:
    usecase = small.usecase("binary")

    assert compare(usecase, answers(0.8), answers(0.7)) == compare(usecase, answers(0.8), answers(0.7))


@pytest.mark.parametrize(
    ("low", "margin", "better"),
    [
        pytest.param(0.01, 0.0, True, id="whole interval above zero"),
        pytest.param(0.0, 0.0, False, id="touches zero"),
        pytest.param(-0.01, 0.0, False, id="contains zero"),
        pytest.param(0.01, 0.02, False, id="below the improvement that is asked for"),
    ],
)
def test_only_an_interval_wholly_above_the_margin_is_better(low: float, margin: float, better: bool) -> None:
    usecase = small.usecase("binary", evaluate__min_improvement=margin)

    assert decide(usecase, Comparison(0.8, 0.7, 0.1, low, 0.2), "version 1", is_first=False)[0] is better


def test_the_dummy_answers_with_the_shares_of_the_training_rows() -> None:
    guess = dummy(small.usecase("binary"), np.array([0, 0, 0, 1]), answers(0.8, rows=5))

    assert guess.probabilities is not None
    assert guess.probabilities.tolist() == [[0.75, 0.25]] * 5
    assert guess.labels.tolist() == [0] * 5


def test_the_champion_is_asked_about_the_same_rows(platform: Platform, binary: Trained, tmp_path: Path) -> None:
    usecase = binary.named(features=Features(numeric=("y",)), evaluate=binary.usecase.evaluate.model_copy(update={"slices": ()}))
    fit(Run("train", usecase), binary.table, str(tmp_path / "fewer.skops"), str(tmp_path / "trials.html"))
    fewer = load_model((tmp_path / "fewer.skops").read_bytes())
    rows, truth = examples(binary.table, usecase, "test")
    crowned(served_form(usecase, fewer, choose(usecase, rows, fewer)), binary)

    run, verdict = evaluated(binary.named(name=usecase.name), binary.table, binary.model, tmp_path)

    assert (verdict.better, verdict.champion) == (True, "1")
    assert run.tags["reason"].startswith("the challenger becomes champion: ")
    assert run.metrics["rival.roc_auc"] == score("roc_auc", predict(fewer, rows, truth, usecase))


def test_a_champion_that_knows_fewer_classes_is_named(platform: Platform, binary: Trained, bundle: Bundle, tmp_path: Path) -> None:
    crowned(bundle, binary)
    usecase = binary.named(name=bundle.manifest.name, task="multiclass", metric="log_loss")
    answer = np.where(np.arange(600) % 19 < 3, 7, small.columns()["answer"])
    table = small.written(tmp_path / "table.parquet", small.columns() | {"answer": answer})
    fit(Run("train", usecase), table, str(tmp_path / "model.skops"), str(tmp_path / "trials.html"))

    with pytest.raises(UserError, match="the champion, version 1, cannot be asked: the model knows the classes 0, 1, not 7"):
        evaluated(usecase, table, str(tmp_path / "model.skops"), tmp_path)


def test_what_the_data_hold_cannot_change_the_page(platform: Platform, binary: Trained, tmp_path: Path) -> None:
    data = small.columns() | {"kind": ["<script>alert(1)</script>", "b"] * 300}

    evaluated(binary.named(), small.written(tmp_path / "table.parquet", data), binary.model, tmp_path)

    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
