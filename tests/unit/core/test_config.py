"""What a use case may say, and the sentence when it says something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from core.config import STEPS, Step
from core.configcheck import Problem, check
from core.configtext import parse
from core.errors import UserError
from tests.unit.small import changed, document, usecase

TREES = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier"}


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        pytest.param({"trian": {}}, "trian", "unknown key", id="unknown key"),
        pytest.param({"train__candidates__trees__serach": {}}, "train.candidates.trees.serach", "unknown key", id="unknown key deep down"),
        pytest.param({"task": "clustering"}, "task", "(found 'clustering')", id="task"),
        pytest.param({"name": "wine-"}, "name", "a letter first, no dash last (found 'wine-')", id="name that no Service can have"),
        pytest.param({"name": "default-deny"}, "name", "an object of the platform is called default-deny", id="name of a policy"),
        pytest.param({"name": "Small_1"}, "name", "lower-case letters, digits and dashes", id="name that no server takes"),
        pytest.param({"target": "an answer"}, "target", "write letters, digits and underscores", id="target with a blank"),
        pytest.param({"train__seed": "x" * 40_000}, "train.seed", f"(found '{'x' * 31}...)", id="long value"),
        pytest.param({"train__max_trials": "many"}, "train.max_trials", "valid integer", id="wrong type"),
        pytest.param({"train__max_trials": 0}, "train.max_trials", "greater than or equal to 1", id="no trial"),
        pytest.param({"train__max_trials": 1}, "train.max_trials", "write at least 2", id="fewer trials than candidates"),
        pytest.param({"train__seed": -1}, "train.seed", "greater than or equal to 0", id="negative seed"),
        pytest.param({"train__candidates": {}}, "train.candidates", "at least 1 item", id="no candidate"),
        pytest.param({"metric": "rmse"}, "metric", "rmse does not measure a binary model: choose one of roc_auc", id="metric of another task"),
        pytest.param({"metric": "gini"}, "metric", "found 'gini'", id="no such metric"),
        pytest.param({"sources__rows": "ftp://host/file"}, "sources.rows", "of no known kind: write s3://", id="no such kind of source"),
        pytest.param({"sources__more": "more.csv"}, "sources.more", "add contract.more", id="source without contract"),
        pytest.param({"contract__more": {"columns": {"x": {"type": "number"}}}}, "contract.more", "name one of rows", id="contract without source"),
        pytest.param({"contract__rows__unique": [["x", "id"]]}, "contract.rows.unique.0", "id is not among the columns", id="unknown key column"),
        pytest.param({"contract__rows__columns": {}}, "contract.rows.columns", "at least 1 item", id="contract of nothing"),
        pytest.param({"contract__rows__columns__x__type": "int"}, "contract.rows.columns.x.type", "'integer', 'number'", id="no such type"),
        pytest.param({"contract__rows__columns__x__min": "low"}, "contract.rows.columns.x.min", "'low' is no number", id="bound that is no number"),
        pytest.param({"contract__rows__columns__x__nulls": 3}, "contract.rows.columns.x.nulls", "less than or equal to 1", id="share above 1"),
        pytest.param(
            {"contract__rows__columns__day": {"type": "date", "max": "2013-13-01"}},
            "contract.rows.columns.day.max",
            "no date",
            id="bound that is no date",
        ),
        pytest.param(
            {"contract__rows__columns__at": {"type": "timestamp", "min": 2013}},
            "contract.rows.columns.at.min",
            "no timestamp",
            id="bound that is no time",
        ),
        pytest.param(
            {"contract__rows__columns__x__max": 1, "contract__rows__columns__x__min": 2}, "contract.rows.columns.x.max", "below min", id="empty range"
        ),
        pytest.param(
            {"contract__rows__columns__x": {"type": "boolean", "min": 0}},
            "contract.rows.columns.x.min",
            "a boolean has no min",
            id="bound of a boolean",
        ),
        pytest.param({"contract__rows__columns__x__values": ["a"]}, "contract.rows.columns.x.values.0", "write a number", id="text among numbers"),
        pytest.param(
            {"contract__rows__columns__x": {"type": "string", "values": [1]}},
            "contract.rows.columns.x.values.0",
            "in quotes",
            id="number among texts",
        ),
        pytest.param({"contract__rows__columns__x__values": []}, "contract.rows.columns.x.values", "at least 1 item", id="no value"),
        pytest.param(
            {"contract__rows__columns__x__pattern": "a"}, "contract.rows.columns.x.pattern", "a pattern is for text", id="pattern of a number"
        ),
        pytest.param(
            {"contract__rows__columns__x": {"type": "string", "pattern": "(?=a)"}},
            "contract.rows.columns.x.pattern",
            "no regular expression of RE2 (invalid perl operator: (?=)",
            id="no such pattern",
        ),
        pytest.param(
            {"sources__Rows": "rows.csv", "contract__Rows": {"columns": {"x": {"type": "number"}}}},
            "sources.rows",
            "rows and Rows differ only in case, which DuckDB ignores: rename one",
            id="sources that differ only in case",
        ),
        pytest.param(
            {"contract__rows__columns__x": {"type": "boolean", "outside": 0.1}},
            "contract.rows.columns.x.outside",
            "nothing to be outside of",
            id="outside of nothing",
        ),
        pytest.param(
            {"contract__rows__columns__x": {"type": "string", "drift": {"ks": 0.1}}},
            "contract.rows.columns.x.drift.ks",
            "psi or variation",
            id="ks of text",
        ),
        pytest.param(
            {"contract__rows__columns__x__drift": {"variation": 0.1}},
            "contract.rows.columns.x.drift.variation",
            "psi or ks",
            id="variation of numbers",
        ),
        pytest.param({"contract__rows__columns__x__drift": {"jsd": 1}}, "contract.rows.columns.x.drift.jsd", "unknown key", id="no such drift"),
        pytest.param({"contract__rows__drift": {"psi": 0}}, "contract.rows.drift.psi", "greater than 0", id="no drift at all"),
        pytest.param({"contract__rows__rows": {"min": 5, "max": 4}}, "contract.rows.rows", "max 4 is below min 5", id="empty range of rows"),
        pytest.param(
            {"contract__rows__freshness": {"column": "at", "hours": 1}}, "contract.rows.freshness.column", "at is not among", id="no such time"
        ),
        pytest.param(
            {"contract__rows__freshness": {"column": "x", "hours": 1}}, "contract.rows.freshness.column", "name a timestamp or a date", id="no time"
        ),
        pytest.param(
            {"contract__rows__references": [{"columns": ["x"], "source": "cars"}]},
            "contract.rows.references.0",
            "name one of rows",
            id="no such table",
        ),
        pytest.param(
            {"contract__rows__references": [{"columns": ["id"], "source": "rows", "to": ["x"]}]},
            "contract.rows.references.0",
            "id is not",
            id="no key",
        ),
        pytest.param(
            {"contract__rows__references": [{"columns": ["x"], "source": "rows", "to": ["y"]}]},
            "contract.rows.references.0",
            "y is not",
            id="no target",
        ),
        pytest.param(
            {"contract__rows__references": [{"columns": ["x"], "source": "rows", "to": ["x", "x"]}]},
            "contract.rows.references.0",
            "1 columns refer to 2",
            id="half a key",
        ),
        pytest.param(
            {"contract__rows__columns__at": {"type": "date"}, "contract__rows__references": [{"columns": ["x"], "source": "rows", "to": ["at"]}]},
            "contract.rows.references.0",
            "x is a number, rows.at a date",
            id="key of another type",
        ),
        pytest.param({"features": {}, "evaluate__slices": []}, "features", "name at least one", id="no feature"),
        pytest.param({"features__numeric": ["x", "y", "x"]}, "features", "x is named twice", id="feature twice"),
        pytest.param({"features__categorical": ["kind", "x"]}, "features", "x is named twice", id="feature of two kinds"),
        pytest.param({"task": "multiclass", "positive": 1}, "positive", "a multiclass task has no positive class", id="positive of many"),
        pytest.param(
            {"train__candidates__trees__parameters": {"monotonic_cst": {"x": 1, "kind": 1}}},
            "train.candidates.trees.parameters.monotonic_cst",
            "kind is no numeric feature: name one of x, y",
            id="constraint of a category",
        ),
        pytest.param(
            {"train__candidates__trees__parameters": {"monotonic_cst": {"x": "up"}}},
            "train.candidates.trees.parameters.monotonic_cst",
            "x has up: write 1 for rising",
            id="constraint of no direction",
        ),
        pytest.param(
            {"train__candidates__trees": TREES | {"parameters": {"monotonic_cst": {"x": 1}}}},
            "train.candidates.trees.parameters.monotonic_cst",
            "need preprocessing: {categorical: ordinal}",
            id="constraint beside one-hot columns",
        ),
        pytest.param({"evaluate__baseline": "answer"}, "evaluate.baseline", "answer is the target", id="baseline that is the answer"),
        pytest.param({"target": "x"}, "target", "the model would see the answer", id="target among the features"),
        pytest.param({"evaluate__slices": ["kind", "age"]}, "evaluate.slices.1", "age is not a feature: name one of x, y, kind", id="no such slice"),
        pytest.param({"evaluate__confidence": 1}, "evaluate.confidence", "less than 1", id="certainty"),
        pytest.param({"split": {"by": "time"}}, "split", "a split by time needs a column", id="time without column"),
        pytest.param({"split": {"by": "group", "column": "answer"}}, "split.column", "is the target", id="split by the target"),
        pytest.param({"key": None}, "split.by", "a split at random needs a key", id="random without key"),
        pytest.param({"split__column": "y"}, "split.column", "write key: [y] instead", id="random by a column"),
        pytest.param({"key": "y"}, "key", "write a list of columns, such as [id], or all", id="key that is no list"),
        pytest.param({"key": []}, "key", "write a list of columns, such as [id], or all", id="key of no column"),
        pytest.param({"key": ["x", "answer"]}, "key.1", "answer is the target", id="target in the key"),
        pytest.param({"key": ["x", "x"]}, "key.1", "x is named twice", id="key column twice"),
        pytest.param({"split__train": 0.8, "split__validation": 0.2}, "split", "leave no test rows", id="no test rows"),
        pytest.param({"split__train": 0}, "split.train", "greater than 0", id="no training rows"),
        pytest.param({"limits__memory": "lots"}, "limits.memory", "write a size such as 512MB", id="memory"),
        pytest.param({"limits__steps__trian": {}}, "limits.steps.trian", "'train', 'evaluate'", id="limits of no step"),
        pytest.param({"limits__steps__train__cores": 2}, "limits.steps.train.cores", "unknown key", id="limit of no kind"),
        pytest.param({"limits__steps__train__cpu": 0}, "limits.steps.train.cpu", "write cores such as 2", id="no core"),
        pytest.param({"limits__steps__train__memory": "4GB"}, "limits.steps.train.memory", "write a size such as 512Mi", id="memory of no pod"),
        pytest.param({"limits__steps__train__minutes": 0}, "limits.steps.train.minutes", "greater than or equal to 1", id="no time"),
        pytest.param({"serving__cpu": "lots"}, "serving.cpu", "write cores such as 2", id="cores of a server"),
        pytest.param({"serving__memory": "255Mi"}, "serving.memory", "a model server needs at least 256Mi", id="too little for a server"),
        pytest.param({"serving__memory": "0Mi"}, "serving.memory", "write a size such as 512Mi", id="memory of a server"),
        pytest.param({"serving__cors": ["app.example.com"]}, "serving.cors.0", "write an origin such as", id="a page without https"),
        pytest.param({"serving__log_predictions": 10}, "serving.log_predictions", "less than or equal to 1", id="percent of requests"),
        pytest.param(
            {"train__candidates__trees__search__max_iter": {"int": [5, 10]}},
            "train.candidates.trees.search.max_iter",
            "remove one",
            id="fixed and searched",
        ),
    ],
)
def test_a_contradiction_is_named_with_its_place(change: dict[str, Any], place: str, message: str) -> None:
    wrong = document(**change)

    checked, problems = check(wrong)

    assert checked is None
    assert [".".join(map(str, problem.path)) for problem in problems] == [place]
    assert message in problems[0].message


@pytest.mark.parametrize(
    ("space", "message"),
    [
        pytest.param({}, "exactly one of", id="nothing"),
        pytest.param({"int": [1, 2], "float": [1, 2]}, "exactly one of", id="two kinds"),
        pytest.param({"int": [5, 5]}, "the first bound must be below the second, not 5 and 5", id="empty range"),
        pytest.param({"float": [0, 1], "log": True}, "log: true needs int or float bounds above 0", id="logarithm of zero"),
        pytest.param({"choice": ["a"], "log": True}, "log: true needs int or float bounds above 0", id="logarithm of a choice"),
        pytest.param({"choice": []}, "at least 1 item", id="no choice"),
        pytest.param({"int": [1, 2, 3]}, "at most 2 items", id="three bounds"),
        pytest.param({"int": [1.5, 3]}, "valid integer", id="half an integer"),
    ],
)
def test_a_search_space_is_one_range(space: dict[str, Any], message: str) -> None:
    wrong = document(train__candidates__trees__search__learning_rate=space)

    _, problems = check(wrong)

    assert problems[0].path[:6] == ("train", "candidates", "trees", "search", "learning_rate", *problems[0].path[5:6])
    assert message in problems[0].message


@pytest.mark.parametrize(
    ("written", "cpu"), [pytest.param(4, "4", id="number"), pytest.param(0.5, "0.5", id="fraction"), pytest.param("500m", "500m")]
)
def test_a_step_of_which_one_limit_is_named_keeps_the_others_and_so_do_the_other_steps(written: Any, cpu: str) -> None:
    steps = usecase(limits__steps__train__cpu=written).limits.steps

    assert steps["train"] == Step(cpu=cpu, memory="4Gi", minutes=240)
    assert {name: step for name, step in steps.items() if name != "train"} == {name: step for name, step in STEPS.items() if name != "train"}


def test_what_is_missing_is_named() -> None:
    wrong = document()
    del wrong["target"]

    _, problems = check(wrong)

    assert problems == [Problem(("target",), "missing: add it")]


def test_every_problem_is_a_line_of_the_refusal() -> None:
    wrong = document(target="x", metric="mae", split={"by": "time"})

    with pytest.raises(UserError) as refused:
        parse(json.dumps(wrong))

    assert [line.split(": ")[1] for line in str(refused.value).splitlines()] == ["target", "split", "metric"]


def test_a_key_that_is_no_text_is_refused_not_a_crash() -> None:
    wrong = changed(document(), train__candidates__trees__parameters={1: "a", "b": 2})

    _, problems = check(wrong)

    assert "should be a valid string" in problems[0].message


def test_a_use_case_never_changes() -> None:
    known = usecase()

    with pytest.raises(ValidationError):
        known.target = "x"
