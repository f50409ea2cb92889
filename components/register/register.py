"""Make the served form, prove it, store it, register it."""

import json
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.register.card import write
from components.register.engine import choose
from components.register.typical import typical
from core import mlflow_connection, registry
from core.bundle import Bundle, Golden, Input, Manifest, Output, differences, digest, dump_model, frame, load_model, pack, plain, unpack
from core.classes import note, positive
from core.codecheck import EXTRAS
from core.config import UseCase
from core.csvoptions import shared_dialect
from core.engines import OnnxEngine, ScikitLearnEngine, load_engine
from core.errors import UserError
from core.examples import examples
from core.fitted import write_fitted
from core.markdown import escaped, link
from core.sources import Files
from core.storage import root
from core.storage import write as store
from core.tables import inputs
from core.tracking import Run, identity, notes, run_id, steps

SEEN = 100_000  # training rows that the example is made of, drawn if there are more
PROVEN = 1_000_000  # test rows that the engines are compared on, drawn if there are more
TITLES = {OnnxEngine.name: "ONNX", ScikitLearnEngine.name: "scikit-learn"}


def register(run: Run, table: str, model: str, golden: str, judged_against: str, seen: str) -> str:
    """Register the challenger; a second time with the same model finds the version of the first.

    Args:
        run: The step's notes.
        table: The table that transform made.
        model: The fitted pipeline, in skops' format.
        golden: Rows and answers of training, as JSON.
        judged_against: The champion that it was found better than, empty without one.
        seen: The splits whose rows the model was fitted on or chosen by, such as train+validation.

    Returns:
        The version's number.

    Raises:
        UserError: The served form answers otherwise than the model, or a server refuses.
    """
    usecase = run.usecase
    pipeline, expected = load_model(Path(model).read_bytes()), Golden(**json.loads(Path(golden).read_text()))
    form = served_form(usecase, pipeline, expected)
    example = typical(examples(table, usecase, "train", most=SEEN)[0])
    form = replace(form, manifest=replace(form.manifest, example=example))
    chosen = choose(form, pipeline, examples(table, usecase, "test", most=PROVEN)[0])
    engine, data = chosen.bundle.manifest.engine, pack(chosen.bundle)
    prove(data, expected)
    uri = f"{root('models')}/{usecase.name}/{digest(data).removeprefix('sha256:')}.zip"
    store(uri, data, "application/zip")
    known = registry.find(usecase.name, run_id(), digest(data))
    number = known.version if known else _log_model(usecase, pipeline, expected, run)
    fitted = store_fitted(usecase, table, seen)
    made, before = registry.Version(usecase.name, number, uri, digest(data), judged_against, fitted=fitted), steps(usecase)
    found = {key: value for step in before for key, value in notes(step)["tags"].items() if key in ("data.sha256", "reason", "better")}
    about = note(usecase, chosen.bundle.manifest.classes or ())
    registry.tag(made, made.tags | {"kfp.pipeline_run_id": run_id(), "engine": engine} | found | identity() | about)
    registry.describe(made, write(usecase, made, before, chosen.sentence, about.get("positive_class", "")))
    registry.set_alias(usecase.name, "challenger", number)
    run.tags |= {"version": number, "digest": digest(data), "engine": engine} | {key: found[key] for key in ("data.sha256",) if key in found}
    run.metrics |= {"served_form_mib": len(data) / 2**20} | ({} if chosen.error is None else {"served_form_error": chosen.error})
    run.summary = f"version {number}, {len(data) / 1e3:,.0f} kB, {TITLES[engine]}, {len(expected.rows)} golden rows repeated"
    return number


def describe(run: Run, path: str) -> dict[str, str]:
    """Write the Markdown of the registered version, and return its metadata.

    Args:
        run: The step's notes, after `register`.
        path: Where the Markdown is written.
    """
    name, version = run.usecase.name, run.tags["version"]
    page = f"{mlflow_connection.uri()}/#/models/{name}/versions/{version}"
    known = {"version": version, "digest": run.tags["digest"], "engine": run.tags["engine"], "data_sha256": run.tags.get("data.sha256", "")}
    lines = [f"{link(f'{name} version {version}', page)} in MLflow", *(f"- {escaped(key)}: `{value}`" for key, value in known.items() if value)]
    Path(path).write_text("\n".join(lines), encoding="utf-8")
    return known | {"mlflow": page}


def served_form(usecase: UseCase, pipeline: Any, golden: Golden) -> Bundle:
    """Put together what a server with scikit-learn reads."""
    classes = plain(pipeline.classes_) if hasattr(pipeline, "classes_") else None
    answers = [Output("predict", _datatype(classes))] + ([Output("predict_proba", "FP64")] if hasattr(pipeline, "predict_proba") else [])
    versions = dict(requirement.split("==") for requirement in _requirements(pipeline))
    manifest = Manifest(
        usecase.name,
        usecase.task,
        usecase.target,
        ScikitLearnEngine.name,
        inputs(usecase),
        tuple(answers),
        tuple(classes) if classes else None,
        versions,
        positive=positive(usecase, classes) if usecase.task == "binary" and classes else None,
        dialect=shared_dialect(source.csv for source in usecase.sources.values() if isinstance(source, Files)),
    )
    return Bundle(manifest, golden, dump_model(pipeline))


def prove(data: bytes, golden: Golden) -> None:
    """Read the served form as a server does, and compare its answers with those of training.

    Raises:
        UserError: They differ.
    """
    bundle = unpack(data, digest(data))
    engine = load_engine(bundle)
    asked = [output.name for output in bundle.manifest.outputs]
    rows = engine.table([[row[item.name] for row in golden.rows] for item in bundle.manifest.inputs])
    answers = engine.answer([rows], asked)
    found = differences(golden, plain(answers["predict"]), plain(answers["predict_proba"]) if golden.predict_proba else None)
    if found:
        raise UserError(f"the served form answers otherwise than the model that was trained, so it is not registered: {'; '.join(found[:3])}")


def store_fitted(usecase: UseCase, table: str, seen: str) -> str:
    """Store the set of the rows that the model was fitted on or chosen by, and return where; the server does not read it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fitted.parquet")
        write_fitted(usecase, table, seen, path)
        data = path.read_bytes()
    uri = f"{root('models')}/{usecase.name}/{digest(data).removeprefix('sha256:')}.parquet"
    store(uri, data)
    return uri


def _datatype(classes: list[Any] | None) -> Any:
    if classes is None:
        return "FP64"
    return {bool: "BOOL", int: "INT64", float: "FP64"}.get(type(classes[0]), "BYTES")


def _log_model(usecase: UseCase, pipeline: Any, golden: Golden, run: Run) -> str:
    """Log the pipeline as an MLflow model with signature and input example, and register it."""
    import mlflow
    from mlflow.models import Model, infer_signature

    read: tuple[Input, ...] = inputs(usecase)
    example = frame({item.name: [row[item.name] for row in golden.rows[:5]] for item in read}, read)
    rows = frame({item.name: [row[item.name] for row in golden.rows] for item in read}, read)
    info = Model.log(  # as mlflow.sklearn.log_model does within an active run; but leaving that would end it, also one that is not ours
        artifact_path=None,
        name="model",
        flavor=mlflow.sklearn,
        run_id=run.id,
        sk_model=pipeline,
        signature=infer_signature(rows, pipeline.predict(rows)),
        input_example=example,
        pip_requirements=[*_requirements(pipeline), "pandas"],
        serialization_format="skops",
        skops_trusted_types=_trusted(pipeline),
        registered_model_name=usecase.name,
    )
    return str(info.registered_model_version)


def _requirements(pipeline: Any) -> list[str]:
    """Return what computes the answers, in the version that the model was trained with."""
    package = type(getattr(pipeline, "_final_estimator", pipeline)).__module__.partition(".")[0]
    names = ["scikit-learn", "numpy", *({package} & set(EXTRAS))]
    return [f"{name}=={version(name)}" for name in names]


def _trusted(pipeline: Any) -> list[str]:
    import skops.io

    found: list[str] = skops.io.get_untrusted_types(data=skops.io.dumps(pipeline))
    return found
