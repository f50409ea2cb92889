"""The positive class and the keys of class_weight: matched to the target's own type, refused before the run where that is known."""

from __future__ import annotations

from typing import Any

import ibis
import pytest

from core.classcheck import class_problems
from core.classes import matching, positive
from core.config import UseCase
from core.errors import UserError
from tests.unit import small

LINEAR = "train.candidates.linear"


@pytest.mark.parametrize(
    ("name", "classes", "label"),
    [
        pytest.param("bad", ["bad", "good"], "bad", id="text"),
        pytest.param(1, [0, 1], 1, id="whole number"),
        pytest.param("1", [0, 1], 1, id="number in quotes"),
        pytest.param(True, [0, 1], 1, id="true for 1"),
        pytest.param(1, [False, True], True, id="1 for true"),
        pytest.param("true", [False, True], True, id="true in quotes"),
        pytest.param(1, [1.0, 2.0], 1.0, id="whole number for a float"),
        pytest.param(1, ["1", "2"], "1", id="number for a text"),
        pytest.param(1, ["01", "1"], None, id="two texts that are this number"),
        pytest.param("Bad", ["bad", "good"], None, id="other case"),
        pytest.param("1", ["01", "02"], None, id="text that is another one"),
        pytest.param(2, [False, True], None, id="no class"),
    ],
)
def test_a_name_means_the_class_that_is_written_like_it(name: Any, classes: list[Any], label: Any) -> None:
    found = matching(name, classes)

    assert (found, type(found)) == (label, type(label))


@pytest.mark.parametrize("classes", [[0, 1], [1, 0], [0.0, 1.0], [False, True]], ids=str)
def test_without_a_name_one_or_true_is_the_positive_class(classes: list[Any]) -> None:
    assert positive(small.usecase(positive=None), classes) == 1


@pytest.mark.parametrize(
    ("named", "classes", "sentence"),
    [
        pytest.param("Bad", ["bad", "good"], "positive: 'Bad' is no value of answer: name one of bad, good", id="no class"),
        pytest.param(None, ["bad", "good"], "answer has the classes bad, good: name the class", id="texts"),
        pytest.param(None, [1, 2], "answer has the classes 1, 2: name the class whose probability", id="numbers that are not 0 and 1"),
        pytest.param(None, ["0", "1"], 'answer has the classes "0", "1": name the class', id="texts of digits"),
        pytest.param(1, ["01", "1"], 'positive: 1 is no value of answer: name one of "01", "1"', id="two texts that are this number"),
        pytest.param(">50K", [" <=50K", " >50K"], """positive: '>50K' is no value of answer: name one of " <=50K", " >50K\"""", id="blanks"),
    ],
)
def test_a_positive_class_that_is_none_is_refused(named: Any, classes: list[Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        positive(small.usecase(positive=named), classes)

    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("kind", "values", "change", "place", "message"),
    [
        pytest.param("string", ["bad", "good"], {}, "target", "answer has the classes bad, good: name the class", id="text without positive"),
        pytest.param("string", None, {}, "target", "answer is text: name the class whose probability", id="text of unknown values"),
        pytest.param("integer", [1, 2], {}, "target", "answer has the classes 1, 2: name", id="numbers without positive"),
        pytest.param("string", ["bad", "good"], {"positive": "worse"}, "positive", "name one of bad, good", id="no such value"),
        pytest.param("boolean", None, {"positive": "late"}, "positive", "name one of false, true", id="no boolean"),
        pytest.param(
            "integer",
            [0, 1],
            {"train__candidates__linear__parameters": {"class_weight": {0: 1, 2: 10}}},
            f"{LINEAR}.parameters.class_weight",
            "2 is no class of answer: name 0, 1",
            id="weight of no class",
        ),
        pytest.param(
            "integer",
            [0, 1],
            {"train__candidates__linear__search": {"class_weight": {"choice": ["balanced", {"one": 10}]}}},
            f"{LINEAR}.search.class_weight.choice.1",
            "'one' is no class",
            id="searched weight of no class",
        ),
        *(
            pytest.param(
                "integer",
                None,
                {"train__candidates__linear__parameters": {"class_weight": {0: 1, 1: weight}}},
                f"{LINEAR}.parameters.class_weight",
                f"the weight of 1 is {weight!r}: write a number, 0 or more",
                id=f"weight {weight}",
            )
            for weight in ("a", -5, None, True)
        ),
    ],
)
def test_classes_are_checked_before_the_run(kind: str, values: Any, change: dict[str, Any], place: str, message: str) -> None:
    column = {"type": kind} | ({"values": values} if values else {})
    usecase = UseCase.model_validate(small.document(contract__rows__columns__answer=column, **change))

    (problem,) = class_problems(usecase, raw(kind).filter(ibis._.x > 0).select("x", "answer"))

    assert ".".join(map(str, problem.path)) == place
    assert message in problem.message


@pytest.mark.parametrize(
    ("values", "cure"),
    [
        pytest.param(["a", "b", "c"], "a, b, c, a binary task has two: write task: multiclass, or make two in features()", id="three"),
        pytest.param(["a"], "a, a binary task has two: correct them, or make two in features()", id="one"),
    ],
)
def test_a_binary_target_has_two_classes(values: list[str], cure: str) -> None:
    usecase = UseCase.model_validate(small.document(contract__rows__columns__answer={"type": "string", "values": values}, positive="a"))
    table = raw("string").mutate(y=1).drop("y").select("x", "answer")

    (problem,) = class_problems(usecase, table)

    assert problem == (("target",), f"answer has the classes {cure}")
    assert not list(class_problems(usecase, table.filter(ibis._.x > 0)))


@pytest.mark.parametrize(
    ("kind", "values", "change"),
    [
        pytest.param("integer", [0, 1], {"train__candidates__linear__parameters": {"class_weight": {True: 10, "0": 1}}}, id="0 and 1"),
        pytest.param("boolean", None, {"train__candidates__linear__parameters": {"class_weight": {"true": 10}}}, id="true and false"),
        pytest.param("string", ["bad", "good"], {"positive": "bad"}, id="text"),
        pytest.param("integer", None, {"positive": 2}, id="numbers that the contract does not name"),
    ],
)
def test_classes_that_are_right_are_taken(kind: str, values: Any, change: dict[str, Any]) -> None:
    column = {"type": kind} | ({"values": values} if values else {})
    usecase = UseCase.model_validate(small.document(contract__rows__columns__answer=column, **change))

    assert not list(class_problems(usecase, raw(kind)))


def test_a_target_that_features_makes_has_values_of_its_own() -> None:
    column = {"type": "string", "values": ["Bad", "Good"]}
    usecase = small.usecase(contract__rows__columns__answer=column, positive="bad")

    assert not list(class_problems(usecase, raw("string").mutate(answer=ibis._.answer.lower())))


@pytest.mark.parametrize("how", ["left", "inner"])
def test_the_contracts_values_are_known_behind_a_join(how: Any) -> None:
    column = {"type": "string", "values": ["bad", "good"]}
    usecase = small.usecase(contract__rows__columns__answer=column, positive="worse")
    other = ibis.table({"x": "float64", "z": "float64"}, "other")

    (problem,) = class_problems(usecase, raw("string").join(other, "x", how=how).select("answer", "z"))

    assert problem.path == ("positive",)


def raw(kind: str) -> ibis.Table:
    return ibis.table({"x": "float64", "answer": {"integer": "int64"}.get(kind, kind)}, "rows")
