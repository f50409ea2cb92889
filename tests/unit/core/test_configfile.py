"""The configuration's file: each problem with its line, overrides, hints, and the schema for editors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.configfile import load, names, schema
from core.configtext import where
from core.errors import UserError, shown
from core.featurecode import FOLDER
from core.frozen import WORDS

ROOT = FOLDER.parent
LOAD_ALL = """
import json
from core.configfile import load, names
from core.errors import UserError
found = {}
for name in names():
    try:
        load(name)
        found[name] = ''
    except UserError as error:
        found[name] = str(error)
print(json.dumps(found))
"""
GOOD = (FOLDER / "wine" / "config.yaml").read_text()
CODE = (FOLDER / "wine" / "features.py").read_text()


def line(text: str, name: str = "wine") -> int:
    """The number of the first line of a config that begins with a text; blanks before it mean any depth below the top level."""
    lines = (FOLDER / name / "config.yaml").read_text().splitlines()
    begins = re.compile(rf"\s+{text.strip()}" if text.startswith(" ") else text)
    return next(number for number, each in enumerate(lines, 1) if begins.match(each))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        pytest.param(
            "train.max_trails=3",
            "unknown key: remove it or correct its spelling (did you mean max_trials?)",
            id="hint",
        ),
        pytest.param("features.text=[hue]", "unknown key: remove it or correct its spelling", id="other place"),
        pytest.param(
            "train.candidates.random-forest.serch={}",
            "unknown key: remove it or correct its spelling (did you mean search?)",
            id="hint deep down",
        ),
        pytest.param("train.zzzzz=3", "unknown key: remove it or correct its spelling", id="nothing close"),
        pytest.param("train.max_trials=0", "Input should be greater than or equal to 1 (found 0)", id="value"),
        pytest.param("features.numeric=[alcohol, sugar]", "features.numeric.1: features() makes no column sugar", id="column"),
        pytest.param("contract.wine.columns.hue.type=float", "Input should be 'integer', 'number'", id="type"),
        pytest.param("train.candidates.random-forest.search.max_depth={}", "write exactly one of int", id="search space"),
        pytest.param("split.train=0.9", "split: train and validation leave no test rows", id="above the key"),
        pytest.param(
            "positive=[a]",
            "Input should be a valid boolean or a valid integer or a valid number or a valid string",
            id="one of several types",
        ),
        pytest.param("contract.wine.columns.hue.values=[[1]]", "hue.values.0: Input should be a valid number or a valid string", id="item of a list"),
        pytest.param("target=", "Input should be a valid string (found None)", id="nothing given"),
    ],
)
def test_a_problem_of_an_override_is_shown_with_it_and_the_cure(override: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        load("wine", [override])

    (shown,) = str(refused.value).splitlines()
    assert shown.startswith(f"--set {override}: ")
    assert sentence in shown
    assert "(did you mean" in sentence or "(did you mean" not in shown


def test_several_problems_are_several_lines() -> None:
    with pytest.raises(UserError) as refused:
        load("wine", ["metric=mae", "split.by=time"])

    assert [each.split(":")[0] for each in str(refused.value).splitlines()] == ["--set split.by=time", "--set metric=mae"]


def test_an_override_holds_for_one_run() -> None:
    usecase = load("wine", ["train.max_trials=7", "limits.memory=64MB", "train.candidates.random-forest.search.max_depth={int: [2, 3]}"])

    assert (usecase.train.max_trials, usecase.limits.memory) == (7, "64MB")
    assert usecase.train.candidates["random-forest"].search["max_depth"].int == (2, 3)
    assert load("wine").train.max_trials == 4


def test_a_date_in_an_override_stays_text() -> None:
    usecase = load("flights", ["contract.flights.columns.time_hour.min=2012-12-31"])

    assert usecase.contract["flights"].columns["time_hour"].min == "2012-12-31"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        pytest.param("train.max_trials", "write it as --set train.max_trials=3", id="no value"),
        pytest.param("=3", "write it as --set train.max_trials=3", id="no key"),
        pytest.param("train.=3", "write it as --set train.max_trials=3", id="half a key"),
        pytest.param("train.seed.value=3", "seed is a single value, nothing lies below it", id="below a value"),
        pytest.param("train.seed=[1, 2", "not valid YAML", id="unfinished list"),
        pytest.param("train.seed=\x00", "not valid YAML", id="control character"),
        pytest.param("train.seed=!!python/name:os.system", "not valid YAML", id="Python object"),
    ],
)
def test_a_wrong_override_is_refused_in_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        load("wine", [override])

    assert str(refused.value).startswith(shown(f"--set {override}: "))
    assert sentence in str(refused.value)


def test_an_unknown_use_case_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError) as refused:
        load("vine")

    assert str(refused.value) == f"there is no use case vine: choose one of {', '.join(names())}, or add usecases/vine/config.yaml"


def test_a_part_of_the_config_is_found_on_its_line() -> None:
    assert where(load("wine"), ("contract", "wine", "columns", "hue", "min")) == f"usecases/wine/config.yaml line {line('  hue:')}"
    assert where(load("flights"), ("contract", "flights", "unique", 0)) == f"usecases/flights/config.yaml line {line('  unique:', 'flights')}"


def test_a_part_that_an_override_says_is_found_there() -> None:
    usecase, hue = load("wine", ["contract.wine.columns.hue.min=0.1"]), ("contract", "wine", "columns", "hue")

    assert where(usecase, (*hue, "min")) == "--set contract.wine.columns.hue.min=0.1"
    assert where(usecase, (*hue, "max")) == f"usecases/wine/config.yaml line {line('  hue:')}"


def test_the_schema_beside_the_use_cases_is_what_mlops_prints() -> None:
    printed = subprocess.run([Path(sys.executable).parent / "mlops", "schema"], capture_output=True, text=True, check=True).stdout

    assert printed == schema() == (FOLDER / "schema.json").read_text()


def test_each_pattern_of_the_schema_has_words() -> None:
    patterns = set(re.findall(r'"pattern": (".*")', schema()))

    assert {json.loads(pattern) for pattern in patterns} <= WORDS.keys()


@pytest.mark.parametrize("name", names())
def test_each_config_tells_editors_where_its_schema_is(name: str) -> None:
    first = (FOLDER / name / "config.yaml").read_text().splitlines()[0]

    assert first == "# yaml-language-server: $schema=../schema.json"


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A checkout whose use cases are wrong in one way each, and what loading each of them says."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "core", root / "core", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "usecases").mkdir()
    (root / "usecases" / "__init__.py").touch()
    for case in BROKEN:
        name, config, code, _ = case.values
        folder = root / "usecases" / str(name)
        folder.mkdir()
        (folder / "config.yaml").write_bytes(config if isinstance(config, bytes) else str(config).replace("name: wine", f"name: {name}").encode())
        shutil.copyfile(FOLDER / "wine" / "wine.csv", folder / "wine.csv")
        if code:
            (folder / "features.py").write_text(str(code))
    done = subprocess.run([sys.executable, "-c", LOAD_ALL], cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


KEY = f'config.yaml line {line("      hue:")}: contract.wine.columns.{{name}}: Input should be a valid string: write it in quotes: "{{name}}"'
BROKEN = [
    pytest.param("good", GOOD, CODE, "", id="nothing wrong"),
    pytest.param("empty", "", CODE, "line 1: it must be a mapping of keys to values: start with `name: `", id="empty file"),
    pytest.param("list", "- a\n- b\n", CODE, "line 1: it must be a mapping of keys to values", id="list"),
    pytest.param("tab", "name: wine\n\ttask: binary\n", CODE, "line 2: not valid YAML: ", id="tab"),
    pytest.param("open", "name: wine\nfeatures: [a, b\n", CODE, "line 3: not valid YAML: ", id="bracket left open"),
    pytest.param(
        "twice", GOOD + "metric: f1\n", CODE, f"line {GOOD.count(chr(10)) + 1}: not valid YAML: the key metric is written twice", id="key twice"
    ),
    pytest.param("object", GOOD + "x: !!python/name:os.system\n", CODE, "not valid YAML: could not determine a constructor", id="Python object"),
    pytest.param("latin", GOOD.encode() + "# Größe\n".encode("latin-1"), CODE, "line 1: not UTF-8 text, or with control characters", id="Latin-1"),
    pytest.param("control", GOOD + "# \x00\n", CODE, "line 1: not UTF-8 text, or with control characters", id="control character"),
    pytest.param("number", GOOD.replace("  by: random", "  by: random\n  7: x"), CODE, "split.7: ", id="key that is a number"),
    pytest.param("null-key", GOOD.replace("      hue:", "      ~:"), CODE, KEY.format(name="null"), id="null as key"),
    pytest.param("true-key", GOOD.replace("      hue:", "      True:"), CODE, KEY.format(name="true"), id="boolean as key"),
    pytest.param("decimal-key", GOOD.replace("      hue:", "      1.50:"), CODE, KEY.format(name="1.5"), id="decimal number as key"),
    pytest.param(
        "unquoted",
        GOOD.replace("wine: wine.csv", "wine: {kind: file, path: wine.csv, csv: {missing: [-999]}}"),
        CODE,
        'sources.wine.csv.missing.0: Input should be a valid string: write it in quotes: "-999"',
        id="number for a text",
    ),
    pytest.param("codeless", GOOD, "", "usecases/codeless/features.py is missing: write the function features() there", id="no code"),
    pytest.param("syntax", GOOD, "def features(wine):\nreturn wine\n", "features.py line 2: expected an indented block", id="syntax error"),
    pytest.param("misnamed", GOOD, "def feature(wine):\n    return wine\n", "features.py has no function features(): add it", id="no function"),
    pytest.param(
        "uninstalled",
        GOOD,
        "import polars_of_my_own\n",
        "not installed: `make add PACKAGE=polars_of_my_own`",
        id="not installed",
    ),
    pytest.param("lookup", GOOD, "from usecases.lookup.table import X\n", "there is no usecases/lookup/table.py", id="own module"),
    pytest.param("leaving", GOOD, "import sys\nsys.exit('bye')\n", "features.py line 2: SystemExit: bye: correct it", id="ends Python on import"),
    pytest.param(
        "leaver",
        GOOD,
        "def features(wine):\n    raise SystemExit(3)\n",
        "features.py line 2: features() fails: SystemExit: 3: correct it",
        id="ends Python",
    ),
    pytest.param("builtin", GOOD, "features = dict\n", "features.py has no function features(): add it", id="no function of Python"),
    pytest.param("name-error", GOOD, "features = wines\n", "features.py line 1: NameError: name 'wines' is not defined", id="fails on import"),
    pytest.param("import-name", GOOD, "from ibis import Tables\n", "features.py line 1: ImportError: cannot import name 'Tables'", id="no such name"),
    pytest.param(
        "attribute",
        GOOD,
        "import ibis\nX = ibis.tabel\n",
        "features.py line 2: AttributeError: module 'ibis' has no attribute",
        id="no such attribute",
    ),
    pytest.param(
        "broken",
        GOOD,
        "def features(wine):\n    return wine.mutate(a=wine.sugar)\n",
        "features.py line 2: features() fails: 'Table' object has no attribute 'sugar': features() sees the columns that the contract names",
        id="column",
    ),
    pytest.param(
        "key-error",
        GOOD,
        "def features(wine):\n    return {}['a']\n",
        "features.py line 2: features() fails: KeyError: 'a'",
        id="key error",
    ),
    pytest.param(
        "nothing",
        GOOD,
        "def features(wine):\n    wine.mutate(a=1)\n",
        "features.py: features() returns NoneType: return an ibis table",
        id="returns nothing",
    ),
    pytest.param(
        "pandas",
        GOOD,
        "def features(wine):\n    rows = _rows(wine)\n    return rows\n\ndef _rows(wine):\n    return wine.to_pandas()\n",
        "features.py line 6: features() fails: it asks for the data (to_pandas(), execute()), but there are none before the run: write ibis",
        id="pandas",
    ),
    pytest.param(
        "accessor",
        GOOD,
        "from ibis import _\ndef features(wine):\n    return wine.mutate(\n        a=_.cultivar.str.lower())\n",
        "features.py line 3: features() fails: 'StringColumn' object has no attribute 'str': this is an ibis expression",
        id="accessor of pandas",
    ),
    pytest.param(
        "spelling",
        GOOD,
        "def features(wine):\n    return wine.mutate(Hue=wine.hue).drop('hue').rename(hue='Hue')\n",
        "features.py: columns Hue and hue differ only in case",
        id="columns that differ only in case",
    ),
    pytest.param(
        "splitter", GOOD, "def features(wine):\n    return wine.mutate(Split=1)\n", "features.py: features() makes a column Split", id="column split"
    ),
    pytest.param(
        "subscript",
        GOOD,
        "def features(wine):\n    return wine.mutate(a=wine['sugar'])\n",
        "features.py line 2: features() fails: Column 'sugar' is not found in table",
        id="column in brackets",
    ),
]


@pytest.mark.xdist_group("refusals")
@pytest.mark.parametrize(("name", "config", "code", "sentence"), BROKEN)
def test_a_broken_use_case_is_refused_with_its_file(refusals: dict[str, str], name: str, config: str, code: str, sentence: str) -> None:
    said = refusals[name]

    assert sentence in said
    assert not said or (said.startswith(f"usecases/{name}/") and len(said.splitlines()) == 1)
