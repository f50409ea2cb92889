"""register: a served form that is proven, and one version a run and model."""

import json
import os
import uuid
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from components.evaluate.golden import choose as choose_golden
from components.register.engine import choose
from components.register.register import prove, register, served_form
from components.register.typical import typical
from core import registry, tracking
from core.bundle import digest, dump_model, load_model, pack, unpack
from core.errors import UserError
from core.examples import examples
from core.fitted import unseen
from core.mlflow_api import call
from core.storage import read
from core.tracking import Run
from local.platform import Platform
from tests.unit.components.conftest import Trained

SEEN = "train+validation"


def golden_file(trained: Trained, folder: Path) -> str:
    model = load_model(Path(trained.model).read_bytes())
    rows, _ = examples(trained.table, trained.usecase, "test")
    path = folder / "golden.json"
    path.write_text(json.dumps(asdict(choose_golden(trained.usecase, rows, model))))
    return str(path)


def test_a_challenger_is_registered_with_signature_example_card_alias_and_served_form(
    platform: Platform, run_id: str, trained: Trained, tmp_path: Path
) -> None:
    usecase = trained.named()
    golden = golden_file(trained, tmp_path)

    run = Run("register", usecase)
    number = register(run, trained.table, trained.model, golden, "", SEEN)

    challenger = registry.aliased(usecase.name, "challenger")
    assert challenger and challenger.version == number == "1"
    bundle = unpack(read(challenger.uri), challenger.digest)
    assert [item.name for item in bundle.manifest.inputs] == list(usecase.features.names)
    assert bundle.manifest.example == typical(examples(trained.table, usecase, "train")[0])
    found = call("GET", "model-versions/get", {"name": usecase.name, "version": number})["model_version"]
    assert f"target `{usecase.target}`" in found["description"]
    assert "- Engine: ONNX Runtime, float64; " in found["description"]
    assert " kB, ONNX, 40 golden rows repeated" in run.summary
    assert run.metrics["served_form_error"] < 1e-12
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    assert (tags["kfp.pipeline_run_id"], tags["git.sha"], tags["engine"]) == (run_id, "0123abc", "onnx")
    import mlflow

    info = mlflow.models.get_model_info(f"models:/{usecase.name}/{number}")
    assert info.signature and [column.name for column in info.signature.inputs] == list(usecase.features.names)
    assert info.saved_input_example_info


def test_a_pipeline_without_an_exact_graph_is_registered_with_scikit_learn_and_the_card_says_why(
    platform: Platform, run_id: str, binary: Trained, tmp_path: Path
) -> None:
    usecase = binary.named()
    rows, target = examples(binary.table, usecase, "train")
    numbers = make_pipeline(SimpleImputer(), PolynomialFeatures())
    pipeline = make_pipeline(ColumnTransformer([("numbers", numbers, ["x", "y"])]), LogisticRegression()).fit(rows, target)
    odd = replace(binary, model=str(tmp_path / "odd.skops"))
    Path(odd.model).write_bytes(dump_model(pipeline))
    run = Run("register", usecase)

    number = register(run, odd.table, odd.model, golden_file(odd, tmp_path), "", SEEN)

    found = call("GET", "model-versions/get", {"name": usecase.name, "version": number})["model_version"]
    assert "- Engine: scikit-learn: the transformer PolynomialFeatures has no exact ONNX form here" in found["description"]
    assert {tag["key"]: tag["value"] for tag in found["tags"]}["engine"] == "scikit-learn"
    assert ", scikit-learn, 40 golden rows repeated" in run.summary
    assert "served_form_error" not in run.metrics


def test_registering_again_in_the_same_run_finds_the_version_of_the_first_time(
    platform: Platform, run_id: str, binary: Trained, tmp_path: Path
) -> None:
    usecase, golden = binary.named(), golden_file(binary, tmp_path)

    first = register(Run("register", usecase), binary.table, binary.model, golden, "", SEEN)
    again = register(Run("register", usecase), binary.table, binary.model, golden, "", SEEN)
    os.environ["KFP_RUN_ID"] = str(uuid.uuid4())
    other_run = register(Run("register", usecase), binary.table, binary.model, golden, first, SEEN)

    assert (first, again, other_run) == ("1", "1", "2")


def test_the_set_of_fitted_rows_follows_the_model_and_not_the_config(platform: Platform, run_id: str, binary: Trained, tmp_path: Path) -> None:
    usecase = binary.named()

    register(Run("register", usecase), binary.table, binary.model, golden_file(binary, tmp_path), "", "all")

    challenger, path = registry.aliased(usecase.name, "challenger"), tmp_path / "fitted.parquet"
    assert challenger and usecase.train.refit == "train+validation"
    path.write_bytes(read(challenger.fitted))
    assert not unseen(usecase, binary.table, path).any()


def test_a_served_form_that_answers_otherwise_is_not_registered(platform: Platform, run_id: str, binary: Trained, tmp_path: Path) -> None:
    usecase, golden = binary.named(), Path(golden_file(binary, tmp_path))
    answers = json.loads(golden.read_text())
    answers["predict_proba"][3] = [0.25, 0.75]
    golden.write_text(json.dumps(answers))

    with pytest.raises(UserError, match=r"answers otherwise than the model that was trained, so it is not registered: row 3: predict_proba"):
        register(Run("register", usecase), binary.table, binary.model, str(golden), "", SEEN)

    assert registry.aliased(usecase.name, "challenger") is None


def test_the_served_form_of_the_same_model_has_the_same_digest(trained: Trained) -> None:
    model = load_model(Path(trained.model).read_bytes())
    rows, _ = examples(trained.table, trained.usecase, "test")
    golden = choose_golden(trained.usecase, rows, model)

    first, second = (pack(served_form(trained.usecase, load_model(Path(trained.model).read_bytes()), golden)) for _ in range(2))

    prove(first, golden)
    assert digest(first) == digest(second)


def test_the_graph_of_the_same_model_has_the_same_digest(trained: Trained) -> None:
    rows, _ = examples(trained.table, trained.usecase, "test")
    golden = choose_golden(trained.usecase, rows, load_model(Path(trained.model).read_bytes()))

    models = [load_model(Path(trained.model).read_bytes()) for _ in range(2)]
    first, second = (choose(served_form(trained.usecase, model, golden), model, rows) for model in models)

    assert first.bundle.manifest.engine == "onnx"
    assert digest(pack(first.bundle)) == digest(pack(second.bundle))


def test_the_card_says_what_the_steps_found(platform: Platform, run_id: str, binary: Trained, tmp_path: Path) -> None:
    usecase = binary.named()
    evaluated = Run("evaluate", usecase, metrics={"test.roc_auc": 0.8125}, tags={"reason": "it is better"}, live=True)
    evaluated.close("FINISHED")

    number = register(Run("register", usecase), binary.table, binary.model, golden_file(binary, tmp_path), "", SEEN)

    card = call("GET", "model-versions/get", {"name": usecase.name, "version": number})["model_version"]["description"]
    assert "ROC AUC on the test rows: 0.8125" in card
    assert "Verdict: it is better" in card
    assert tracking.steps(usecase)


def test_version_card_and_served_form_name_the_positive_class(platform: Platform, run_id: str, risk: Trained, tmp_path: Path) -> None:
    usecase = risk.named()

    number = register(Run("register", usecase), risk.table, risk.model, golden_file(risk, tmp_path), "", SEEN)

    version = registry.get(usecase.name, number)
    assert version and unpack(read(version.uri), version.digest).manifest.positive == "bad"
    found = call("GET", "model-versions/get", {"name": usecase.name, "version": number})["model_version"]
    assert "- Task: binary, target `answer`, positive class `bad`" in found["description"]
    assert "average precision of bad on the test rows" in found["description"]
    assert {"key": "positive_class", "value": "bad"} in found["tags"]


def test_with_kfps_plugin_the_step_leaves_the_end_of_its_run_to_it(
    platform: Platform, run_id: str, binary: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usecase = binary.named()
    own = tracking.create(usecase, "by the plugin", tags={})
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    run = Run("register", usecase, live=True)

    register(run, binary.table, binary.model, golden_file(binary, tmp_path), "", SEEN)
    run.close("FINISHED")

    found = call("GET", "model-versions/get", {"name": usecase.name, "version": "1"})["model_version"]
    assert run.id == found["run_id"] == own
    assert tracking.get(own)["info"]["status"] == "RUNNING"
