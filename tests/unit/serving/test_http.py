"""What every route has in common: methods, bodies, neighbours, any JSON at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.serving import web
from tests.unit.serving.models import Trained
from tests.unit.serving.servers import Running

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/v3", "/v2/", "/v2/models", "/v1", "/invocations/x"])
def test_an_unknown_route_is_not_found(wine_server: Running, path: str) -> None:
    response = web.get(wine_server.url + path)

    assert response.status_code == 404
    assert response.json() == {"error": f"there is no {path} here"}


@pytest.mark.parametrize(("method", "path"), [("GET", "/invocations"), ("GET", "/v2/models/wine/infer"), ("POST", "/v2"), ("DELETE", "/ping")])
def test_another_method_is_not_allowed(wine_server: Running, method: str, path: str) -> None:
    response = web.request(method, wine_server.url + path)

    assert response.status_code == 405
    assert response.json() == {"error": f"{method} is not for {path}"}
    assert response.headers["allow"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"content-type": "text/plain"}, id="text"),
        pytest.param({"content-type": "application/x-www-form-urlencoded"}, id="curl without a type"),
        pytest.param({"content-type": "application/json; charset=latin-1"}, id="latin-1"),
        pytest.param({"content-type": "application/octet-stream", "inference-header-content-length": "10"}, id="binary tensors"),
    ],
)
def test_another_content_type_is_not_supported(wine_server: Running, headers: dict[str, str]) -> None:
    response = web.post(f"{wine_server.url}/invocations", content=b"{}", headers=headers)

    assert response.status_code == 415
    assert response.json()["message"]


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_a_body_over_the_limit_is_refused(wine_server: Running, chunked: bool) -> None:
    body = b" " * (17 * 1024**2)

    response = web.post(f"{wine_server.url}/invocations", content=iter([body]) if chunked else body, headers=JSON)

    assert response.status_code == 413
    assert "larger than 16 MB" in response.json()["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"{", b"\xff\xfe", b"[NaN, -Infinity]", b'["NaN', b'{"instances": [[1e999, 1, 1, "x"]]}', b"[" * 5000, b'"\\ud800"'],
    ids=["empty", "blank", "half", "not utf-8", "infinity", "NaN in half a text", "infinite", "deep", "surrogate"],
)
def test_a_body_that_is_not_json_is_refused(wine_server: Running, body: bytes) -> None:
    response = web.post(f"{wine_server.url}/v2/models/wine/infer", content=body, headers=JSON)

    assert response.status_code == 400
    assert response.json()["error"].startswith("the body is ")


def test_rows_that_scikit_learn_cannot_take_are_the_clients(late_server: Running, late: Trained) -> None:
    huge = {**late.rows(1)[0], "alcohol": 1.7e308, "hue": -1.7e308}

    response = web.post(f"{late_server.url}/invocations", json={"instances": [huge, huge]})

    assert response.status_code == 400
    assert response.json()["message"].startswith("the model refuses these rows: ")


def test_concurrent_requests_get_their_own_rows(wine_server: Running, wine: Trained) -> None:
    with web.client(base_url=wine_server.url) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: ask(client, wine.rows(number)), range(178)))

    assert wine.same([answer[0] for answer in answers], wine.rows(*range(178)))


def test_a_malformed_request_does_not_harm_its_neighbours(wine_server: Running, wine: Trained) -> None:
    good, bad = wine.rows(5), [{"alcohol": "x"}]

    with web.client(base_url=wine_server.url) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: ask(client, bad if number % 3 == 0 else good), range(60)))

    assert wine.same([answer[0] for number, answer in enumerate(answers) if number % 3], good * 40)


def test_health_is_quick_while_long_requests_run(wine_server: Running, wine: Trained) -> None:
    body, probe = orjson.dumps({"instances": wine.rows(0) * 100_000}), 1.0

    with web.client(base_url=wine_server.url, timeout=60) as client, ThreadPoolExecutor(4) as threads:
        long = [threads.submit(client.post, "/invocations", content=body, headers=JSON) for _ in range(8)]
        seconds = [client.get("/v2/health/ready").raise_for_status().elapsed.total_seconds() for _ in iter(lambda: long[-1].done(), True)]

    assert {request.result().status_code for request in long} == {200}
    assert len(seconds) > 5
    assert max(seconds) < probe


def ask(client: httpx.Client, rows: list[dict[str, Any]]) -> Any:
    body = {"instances": rows, "params": {"predict_method": "predict_proba"}}
    return client.post("/invocations", json=body).json().get("predictions")


NAMES = st.sampled_from(["alcohol", "proline", "hue", "region", "name", "shape", "datatype", "data", "columns", "predict"])
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | NAMES
ANY = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)
BODIES = st.one_of(
    ANY,
    st.dictionaries(st.sampled_from(["inputs", "outputs", "id", "instances", "params", "dataframe_records", "dataframe_split"]), ANY, max_size=3),
    st.fixed_dictionaries({"inputs": st.lists(st.fixed_dictionaries({"name": NAMES, "shape": ANY, "datatype": ANY, "data": ANY}), max_size=4)}),
    st.fixed_dictionaries({"instances": st.lists(st.lists(LEAVES, min_size=4, max_size=4), min_size=1, max_size=4)}),
    st.fixed_dictionaries(
        {"inputs": st.fixed_dictionaries({name: st.lists(LEAVES, max_size=3) for name in ("alcohol", "proline", "hue", "region")})}
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES)
def test_no_json_is_answered_by_a_server_error(wine_server: Running, http: httpx.Client, body: Any) -> None:
    content = orjson.dumps(body)

    statuses = [http.post(wine_server.url + path, content=content, headers=JSON).status_code for path in ("/invocations", "/v2/models/wine/infer")]

    assert set(statuses) <= {200, 400}


@pytest.fixture(scope="session")
def http() -> Any:
    with web.client() as client:
        yield client
