"""CSV at MLflow's `/invocations`."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.serving import web
from tests.unit.serving.bodies import table
from tests.unit.serving.models import Trained
from tests.unit.serving.servers import Running

NAMES = "alcohol,proline,hue,region"


def send(server: Running, body: str | bytes, kind: str = "text/csv") -> httpx.Response:
    return web.post(f"{server.url}/invocations", content=body, headers={"content-type": kind})


@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=utf-8", "Text/CSV; header=present; charset=UTF-8"])
def test_a_table_gives_scikit_learns_answers(wine_server: Running, wine: Trained, kind: str) -> None:
    rows = wine.rows(*range(60))

    response = send(wine_server, table(rows), kind)

    assert response.json() == {"predictions": wine.answer(rows, "predict")}


@pytest.mark.parametrize(
    ("body", "region"),
    [
        pytest.param(f"{NAMES}\n13,900,1,north\n", "north", id="lines end by \\n"),
        pytest.param(f"{NAMES}\r\n13,900,1,north", "north", id="no end of the last line"),
        pytest.param('"alcohol","proline","hue","region"\r\n"13","900","1","north"\r\n', "north", id="all quoted"),
        pytest.param(f"\ufeff{NAMES}\n13,900,1,north\n", "north", id="byte order mark"),
        pytest.param("region,hue,proline,alcohol\nnorth,1,900,13\n", "north", id="another order"),
        pytest.param(f'{NAMES}\n13,900,1,"no, ""really""\nnew line"\n', 'no, "really"\nnew line', id="comma, quote and line in a text"),
        pytest.param(f"{NAMES}\n 13 ,9e2,+1.0,süd 🍷\n", "süd 🍷", id="spaces, exponent, sign, other scripts"),
        pytest.param(f"{NAMES}\n\n13,900,1,north\n\n", "north", id="blank lines"),
        pytest.param("sep=;\nalcohol;proline;hue;region\n13;900;1;north\n", "north", id="a first line that names the delimiter"),
        pytest.param("alcohol\tproline\thue\tregion\n13\t900\t1\tnorth\n", "north", id="tabs"),
        pytest.param(f"{NAMES}\n13,900,true,north,\n", "north", id="true, and a delimiter at the end"),
        pytest.param(f"{NAMES}\n13,900,1,NA\n", None, id="NA is a missing text"),
        pytest.param(f"{NAMES}\n13,900,1,\n", None, id="missing text"),
        pytest.param(f"{NAMES}\n13,900,1,NaN\n", "NaN", id="text that reads NaN"),
    ],
)
def test_what_csv_may_look_like(wine_server: Running, wine: Trained, body: str, region: str | None) -> None:
    expected = wine.answer([{"alcohol": 13.0, "proline": 900.0, "hue": 1.0, "region": region}], "predict")

    response = send(wine_server, body.encode())

    assert response.json() == {"predictions": expected}


@pytest.mark.parametrize("missing", ["", "NaN", '""', '"NA"'])
def test_a_missing_number_is_nothing_or_nan(diabetes_server: Running, diabetes: Trained, missing: str) -> None:
    rows = [{"bmi": None, "bp": 0.02, "region": "m"}]

    response = send(diabetes_server, f"bmi,bp,region\n{missing},0.02,m\n")

    assert diabetes.same(response.json()["predictions"], rows, "predict")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        pytest.param("", "the body is empty", id="empty"),
        pytest.param("\n", "column alcohol is missing", id="a blank line"),
        pytest.param(f"{NAMES}\n", "there are no rows", id="no rows"),
        pytest.param("13,900,1,north\n", "column alcohol is missing", id="no line of names"),
        pytest.param("alcohol,proline,hue\n13,900,1\n", "column region is missing", id="missing column"),
        pytest.param(f"{NAMES},age\n13,900,1,north,3\n", "column age is unknown", id="unknown column"),
        pytest.param(f"{NAMES},hue\n13,900,1,north,1\n", "column hue is named twice", id="column twice"),
        pytest.param(f"{NAMES}\n13,900,1,north\n13,900,1\n", "row 1: 3 values for 4 columns", id="short row"),
        pytest.param(f"{NAMES}\n13,900,1,north,5\n", "row 0: 5 values for 4 columns", id="long row"),
        pytest.param(f"{NAMES}\n13,900,1,n\n13,900,red,n\n", "row 1, column hue: expected a finite number or nothing", id="text in a number"),
        pytest.param(f"{NAMES}\n13,9_00,1,n\n", "row 0, column proline: expected a finite number or nothing", id="underscore"),
        pytest.param(f"{NAMES}\n13,٩,1,n\n", "row 0, column proline: expected a finite number or nothing", id="digits of another script"),
        pytest.param(f"{NAMES}\n13,inf,1,n\n", "row 0, column proline: expected a finite number or nothing", id="infinity"),
        pytest.param(f"{NAMES}\n13,1e999,1,n\n", "row 0, column proline: expected a finite number or nothing", id="beyond all numbers"),
        pytest.param(f'{NAMES}\n13,900,1,"north\n', "the body is not CSV in UTF-8", id="a quote that does not end"),
        pytest.param(f'{NAMES}\n13,900,1,"a"b\n', "the body is not CSV in UTF-8", id="a quote within"),
        pytest.param(f"{NAMES}\n13,900,1,süd\n".encode("latin-1"), "the body is not CSV in UTF-8", id="latin-1"),
        pytest.param(NAMES.encode("utf-16"), "the body is not CSV in UTF-8", id="UTF-16"),
        pytest.param(f"{NAMES}\n13,900,1,{'x' * 200_000}\n", "the body is not CSV in UTF-8: field larger", id="a field without end"),
    ],
)
def test_a_malformed_table_is_refused_with_its_place(wine_server: Running, body: Any, sentence: str) -> None:
    response = send(wine_server, body)

    assert response.status_code == 400
    assert response.json()["error_code"] == "BAD_REQUEST"
    assert sentence in response.json()["message"]
    assert response.json().keys() == {"error_code", "message"}


@pytest.mark.parametrize("path", ["/v2/models/wine/infer", "/v1/models/wine:predict"])
def test_csv_is_mlflows_alone(wine_server: Running, path: str) -> None:
    response = web.post(wine_server.url + path, content=f"{NAMES}\n13,900,1,n\n", headers={"content-type": "text/csv"})

    assert response.status_code == 415
    assert "send Content-Type: application/json" in response.json()["error"]
