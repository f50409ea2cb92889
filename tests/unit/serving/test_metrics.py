"""What a server counts, and what it writes down of a request."""

from __future__ import annotations

import signal
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.serving import web
from tests.unit.serving.bodies import tensors
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.servers import HeldStorage, Launcher, Running

SECRET = {"alcohol": 13.123456, "proline": 900.0, "hue": 1.0, "region": "a secret place"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Samples(dict[tuple[str, frozenset[str]], float]):
    """Every sample by its name and the values of its labels."""

    def of(self, name: str, *labels: str) -> float:
        return self[name, frozenset(labels)]

    def by_label(self, name: str) -> dict[frozenset[str], float]:
        return {labels: value for (sample, labels), value in self.items() if sample == name}


def samples(server: Running) -> Samples:
    text = web.get(f"{server.url}/metrics").raise_for_status().text
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return Samples({(sample.name, frozenset(sample.labels.values())): sample.value for sample in found})


@pytest.fixture
def fresh(launcher: Launcher, wine: Trained) -> Running:
    """A server that was asked nothing yet."""
    return launcher.start(*publish(wine.onnx)).wait_until_ready()


def test_requests_rows_and_predictions_are_counted(fresh: Running, wine: Trained) -> None:
    rows = wine.rows(*range(50))

    bodies: list[dict[str, Any]] = [{"instances": rows}, {"instances": rows[:1]}, {"instances": []}]
    for body in [*bodies, {"instances": rows, "params": {"predict_method": "predict_proba"}}]:
        web.post(f"{fresh.url}/invocations", json=body)
    web.post(f"{fresh.url}/invocations", content=b"x", headers={"content-type": "text/plain"})
    web.post(f"{fresh.url}/v2/models/wine/infer", json={"inputs": tensors(rows)})
    web.post(f"{fresh.url}/v2/models/beer/infer", json={"inputs": tensors(rows)})
    web.post(f"{fresh.url}/v1/models/wine:predict", json={"instances": rows[:7]})
    found = samples(fresh)

    counted = {"mlflow 200": 3, "mlflow 400": 1, "mlflow 415": 1, "kserve 200": 1, "open-inference 200": 1, "open-inference 404": 1}
    assert found.by_label("model_requests_total") == {frozenset(labels.split()): count for labels, count in counted.items()}
    assert [found.of("model_rows_total", protocol) for protocol in ("mlflow", "open-inference", "kserve")] == [101, 50, 7]
    # thrice the 50 rows: ONNX Runtime computes labels also where probabilities alone are asked for
    expected = [*(wine.answer(rows, "predict") * 3), *wine.answer(rows[:1], "predict"), *wine.answer(rows[:7], "predict")]
    assert found.by_label("model_predictions_total") == {frozenset([label]): expected.count(label) for label in set(expected)}


def test_durations_and_batches_are_measured(fresh: Running, wine: Trained) -> None:
    for count in (1, 1, 2, 100):
        web.post(f"{fresh.url}/invocations", json={"instances": wine.rows(*range(count))})
    found = samples(fresh)

    assert found.of("model_request_seconds_count", "mlflow", "ok") == 4
    assert 0 < found.of("model_request_seconds_sum", "mlflow", "ok") < 10
    assert found.of("model_request_seconds_bucket", "mlflow", "ok", "+Inf") == 4
    assert [found.of("model_batch_requests_count"), found.of("model_batch_requests_sum")] == [4, 4]
    assert [found.of("model_batch_rows_count"), found.of("model_batch_rows_sum")] == [4, 104]
    assert [found.of("model_batch_rows_bucket", bound) for bound in ("1.0", "2.0", "64.0", "128.0")] == [2, 3, 3, 4]
    assert [found.of(name) for name in ("model_queue_requests", "model_queue_rows", "model_body_bytes", "model_slow_clients_total")] == [0, 0, 0, 0]
    assert found.of("process_resident_memory_bytes") > 10**7


def test_probabilities_of_the_last_class_are_counted_by_tenths(fresh: Running, wine: Trained) -> None:
    rows = wine.rows(*range(178))
    last = [row[-1] for row in wine.answer(rows)]

    web.post(f"{fresh.url}/invocations", json={"instances": rows, "params": {"predict_method": "predict_proba"}})
    found = samples(fresh)

    for tenth in range(1, 10):
        assert found.of("model_prediction_bucket", str(tenth / 10)) == sum(value <= tenth / 10 for value in last)
    assert found.of("model_prediction_sum") == pytest.approx(sum(last))


def test_the_numbers_of_a_regression_are_counted_between_its_golden_rows(diabetes_server: Running, diabetes: Trained) -> None:
    before, rows = samples(diabetes_server), diabetes.rows(*range(100))

    web.post(f"{diabetes_server.url}/invocations", json={"instances": rows})
    after = samples(diabetes_server)

    bounds = sorted(float(*labels) for labels in after.by_label("model_prediction_bucket"))
    golden = [float(value) for value in diabetes.bundle.golden.predict]
    assert len(bounds) == 10
    assert min(golden) < bounds[0] < bounds[-2] < max(golden)
    assert after.of("model_prediction_count") - before.of("model_prediction_count") == 100
    expected = sum(diabetes.answer(rows, "predict"))
    assert after.of("model_prediction_sum") - before.of("model_prediction_sum") == pytest.approx(expected)
    assert after.by_label("model_predictions_total") == {}


def test_the_metrics_say_what_serves(wine_server: Running, engine: str) -> None:
    text = web.get(f"{wine_server.url}/metrics").text

    (info,) = [sample.labels for family in text_string_to_metric_families(text) for sample in family.samples if sample.name == "model_info"]
    assert info.pop("digest") == web.get(f"{wine_server.url}/v2/models/wine").json()["parameters"]["digest"]
    assert info == {"name": "wine", "version": "3", "engine": engine, "task": "multiclass"}


def test_a_server_that_loads_has_metrics_and_is_not_ready(launcher: Launcher, wine: Trained) -> None:
    held = HeldStorage()
    server = launcher.start(*publish(wine.onnx), environment={"AWS_ENDPOINT_URL_S3": held.url})
    web.post(f"{server.url}/invocations", json={"instances": wine.rows(0)})

    before = samples(server)
    held.release()
    server.wait_until_ready()
    after = samples(server)

    assert (before.of("model_ready"), after.of("model_ready")) == (0, 1)
    assert before.of("model_requests_total", "mlflow", "503") == 1
    assert before.of("model_request_seconds_count", "mlflow", "overloaded") == 1


@pytest.mark.parametrize("path", ["/invocations", "/v2", "/nowhere"])
def test_a_trace_and_a_requests_identity_come_back(wine_server: Running, path: str) -> None:
    headers = {"traceparent": TRACE, "x-request-id": "a-7"}

    response = web.request("POST" if path == "/invocations" else "GET", wine_server.url + path, headers=headers)

    assert (response.headers["traceparent"], response.headers["x-request-id"]) == (TRACE, "a-7")
    assert "traceparent" not in web.get(wine_server.url + path).headers


def test_the_access_log_is_off(fresh: Running) -> None:
    before = fresh.text()

    web.post(f"{fresh.url}/invocations", json={"instances": [SECRET]}).raise_for_status()

    assert fresh.text() == before


def test_the_access_log_is_a_line_of_json_a_request_without_a_value(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx), environment={"ACCESS_LOG": "1"}).wait_until_ready()
    wrong = {**SECRET, "hue": "another secret"}

    web.post(f"{server.url}/invocations", json={"instances": [SECRET] * 3}, headers={"traceparent": TRACE, "x-request-id": "a-7"})
    web.post(f"{server.url}/invocations", json={"instances": [wrong]})
    web.post(f"{server.url}/v2/models/wine/infer", json={"inputs": tensors([SECRET])})
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(15)

    lines = [orjson.loads(line) for line in server.text().splitlines() if line.startswith("{")]
    asked = [line for line in lines if line["method"] == "POST"]
    assert [(line["path"], line["status"], line["protocol"], line["rows"]) for line in asked] == [
        ("/invocations", 200, "mlflow", 3),
        ("/invocations", 400, "mlflow", 0),
        ("/v2/models/wine/infer", 200, "open-inference", 1),
    ]
    assert (asked[0]["traceparent"], asked[0]["request_id"]) == (TRACE, "a-7")
    assert all(0 < line["ms"] < 10_000 and line["client"].startswith("127.0.0.1:") and line["time"] for line in asked)
    assert "secret" not in server.text()
    assert "13.123456" not in server.text()
