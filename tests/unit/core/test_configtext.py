"""A config's text: what its scalars mean, its overrides, its way through a pipeline, and texts too long for a parameter."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kfp import dsl
from kfp.local.placeholder_utils import replace_placeholders
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from core import configtext
from core.configfile import load, names
from core.configtext import LIMIT, PLACEHOLDER, parameter, parse, read, resolve, where
from core.configyaml import quoted, value
from core.errors import UserError
from core.featurecode import FOLDER
from pipelines.build import write
from tests.unit import small

WINE = (FOLDER / "wine" / "config.yaml").read_text()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(2), inner, max_size=4),
    max_leaves=12,
)


@dsl.component(base_image="localhost/python:1", install_kfp_package=False)
def echo(config: str) -> None:
    pass


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("+1e3", 1e3),
        (".5", 0.5),
        ("1.0", 1.0),
        ("1", 1),
        ("-0", 0),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("~", None),
        ("", None),
        ("null", None),
        ("true", True),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2012-12-31", "2012-12-31"),
        ("'1'", "1"),
        ("[3, 5, null]", [3, 5, None]),
        ("{0: 1, 1: 10}", {0: 1, 1: 10}),
        ("{no: 1, on: 2}", {"no": 1, "on": 2}),
    ],
)
def test_scalars_follow_yaml_1_2(written: str, meant: Any) -> None:
    assert repr(value(written)) == repr(meant)


@pytest.mark.parametrize(
    "written",
    ["{a: 1, a: 2}", "{1: a, true: b}", "!!timestamp 2012-01-01", "!!set {a}", "[a]: 1", "!!int x", "a\n---\nb", "\x00"],
)
def test_other_yaml_is_refused(written: str) -> None:
    with pytest.raises(yaml.YAMLError):
        value(written)


@given(DOCUMENTS)
def test_documents_keep_values_and_types(document: Any) -> None:
    text = _yaml(document)

    assert repr(value(text)) == repr(document)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(min_size=1), DOCUMENTS, min_size=1), st.text(" \t\n#-'{}$.", max_size=9))
def test_compiled_pipelines_keep_the_text(tmp_path: Path, document: dict[str, Any], tail: str) -> None:
    text = f"{_yaml(document)}\n#{tail}\n"

    @dsl.pipeline(name="any")
    def pipeline(config: str = text) -> None:
        echo(config=config)

    write(pipeline, text, "config.yaml", tmp_path / "any.yaml")

    compiled = ParseDict(yaml.safe_load((tmp_path / "any.yaml").read_text()), PipelineSpec())
    default = compiled.root.input_definitions.parameters["config"].default_value.string_value
    assert default == text
    if not PLACEHOLDER.search(text):
        assert _arrived(text) == text


@pytest.mark.parametrize(
    "written",
    ["{{$.pipeline_job_name}}", "{{$}}", "{{$.json_escape[1]}}", "{{workflow.name}}", "{{ inputs.parameters.x}}", "{{=1}}", "/kfp-workspace"],
)
@pytest.mark.parametrize("key", ["description: '{}'", "# {}"])
def test_placeholders_of_kubeflow_are_refused(written: str, key: str) -> None:
    text = f"name: wine\n{key.replace('{}', written)}\n"

    with pytest.raises(UserError, match=r"^usecases/wine/config\.yaml line 2: \S+( inputs)? is a placeholder of Kubeflow"):
        read(text, "usecases/wine/config.yaml")
    with pytest.raises(UserError, match=r"^--set description=.*: \S+( inputs)? is a placeholder of Kubeflow"):
        load("wine", [f"description={written}"])


@pytest.mark.parametrize("name", names())
def test_the_parameter_is_the_file_and_then_the_overrides(name: str) -> None:
    text = (FOLDER / name / "config.yaml").read_text()

    assert load(name).text == text
    changed = load(name, ["train.seed=4", "limits.memory='64MB'"]).text

    assert changed.startswith(text)
    assert changed.splitlines()[-2:] == ['- "train.seed=4"', "- \"limits.memory='64MB'\""]
    assert (parse(changed).train.seed, parse(changed).limits.memory) == (4, "64MB")
    assert parse(text).train.seed != 4


def test_steps_name_file_and_line_of_a_problem() -> None:
    line, trials = (WINE.splitlines().index(text) + 1 for text in ("metric: log_loss", "  max_trials: 4"))

    wrong = WINE.replace("metric: log_loss", "metric: mae").replace("  max_trials: 4", "  max_trails: 4")

    with pytest.raises(UserError, match=rf"^usecases/wine/config.yaml line {line}: metric: mae does not measure"):
        parse(parameter("wine", wrong.replace("max_trails", "max_trials"), ["train.seed=4"]))
    with pytest.raises(UserError, match=rf"^usecases/wine/config.yaml line {trials}: train.max_trails: unknown key"):
        parse(wrong)


def test_values_of_the_estimator_arrive_as_written() -> None:
    parameters = {"max_features": 1.0, "n_estimators": 20, "class_weight": {0: 1, 1: 10}, "C": math.inf, "warm_start": None}
    text = _yaml(small.document(train__candidates__trees__parameters=parameters))

    arrived = parse(text).train.candidates["trees"].parameters

    assert repr(arrived) == repr(parameters)


def test_choices_may_be_null_and_whole_floats() -> None:
    usecase = small.usecase(train__candidates__trees__search={"max_depth": {"choice": [3, 1.0, None]}})

    assert repr(usecase.train.candidates["trees"].search["max_depth"].choice) == "(3, 1.0, None)"


def test_numbers_of_the_config_itself_are_finite() -> None:
    with pytest.raises(UserError, match=r"evaluate\.floor: Input should be a finite number"):
        parse(_yaml(small.document(evaluate__floor=math.nan)))


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A use case whose contract lists more values than a parameter may hold."""
    codes = [f"code-{number:06}" for number in range(12_000)]
    text = _yaml(small.document(name="long", contract__rows__columns__kind={"type": "string", "values": codes})) + "\n"
    (tmp_path / "long").mkdir()
    (tmp_path / "long" / "config.yaml").write_text(text)
    monkeypatch.setattr(configtext, "FOLDER", tmp_path)
    return text


def test_a_long_text_travels_with_the_code(long: str) -> None:
    carried = parameter("long", long, ["train.seed=9"])

    assert len(json.dumps(carried)) < 1_000 < LIMIT < len(long)
    assert resolve(carried) == long
    usecase = parse(carried)
    assert (len(usecase.contract["rows"].columns["kind"].values or ()), usecase.train.seed) == (12_000, 9)
    assert where(usecase, ("contract", "rows")) == "usecases/long/config.yaml line 1"


def test_another_file_than_the_run_was_started_with_is_refused(long: str, tmp_path: Path) -> None:
    carried = parameter("long", long)
    (tmp_path / "long" / "config.yaml").write_text(long + "# changed\n")

    with pytest.raises(UserError, match=r"usecases/long/config\.yaml is not the file that the run was started with"):
        parse(carried)


def test_overrides_too_long_for_a_parameter_are_refused() -> None:
    with pytest.raises(UserError, match=r"write them into usecases/wine/config\.yaml"):
        parameter("wine", WINE, [f"description={'x' * LIMIT}"])


@pytest.mark.parametrize("second", ["name: other", "- evaluate.floor=0.9"])
def test_a_second_document_in_the_file_is_refused(second: str) -> None:
    with pytest.raises(UserError, match=r"line \d+: a second document"):
        read(f"{WINE}---\n{second}\n")


def test_an_override_changes_no_other_place_that_shares_an_anchor() -> None:
    text = read("name: shared\na: &p {d: {e: 1}}\nb: *p\nc: {<<: *p}\n")

    text.override(["a.d.e=5"])

    assert text.document == {"name": "shared", "a": {"d": {"e": 5}}, "b": {"d": {"e": 1}}, "c": {"d": {"e": 1}}}


def test_an_alias_of_itself_is_refused() -> None:
    with pytest.raises(UserError, match="an alias refers to itself"):
        read("a: &a [*a]\n")


@pytest.mark.parametrize(
    "override", ["evaluate.min_improvement=true", "split.seed=true", "train.seed='7'", "evaluate.confidence='0.9'", "train.sample_rows=true"]
)
def test_numbers_are_not_made_of_other_values(override: str) -> None:
    with pytest.raises(UserError, match=r"Input should be a valid (number|integer)"):
        load("wine", [override])


def _arrived(text: str) -> Any:
    """Return what a step gets for a parameter, by kfp's own replacement of placeholders."""
    given = {"inputs": {"parameterValues": {"config": text}}, "outputs": {"outputFile": "out"}}
    (command,) = replace_placeholders(["{{$}}"], given, "name", "task", "root", "id")
    return json.loads(command)["inputs"]["parameterValues"]["config"]


def _yaml(document: Any) -> str:
    """Write a document as YAML 1.2: JSON, but for what JSON lacks."""
    if isinstance(document, dict):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in document.items()) + "}"
    if isinstance(document, list):
        return "[" + ", ".join(map(_yaml, document)) + "]"
    if isinstance(document, float) and not math.isfinite(document):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(document), ".nan")
    return quoted(document) if isinstance(document, str) else json.dumps(document)
