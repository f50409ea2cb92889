"""What is seen of RPCs: by who asks, in the metrics and in the logs."""

from __future__ import annotations

import io
import signal
from typing import Any

import grpc  # type: ignore[import-untyped]
import orjson
import pyarrow.parquet as pq
import pytest
from tritonclient.grpc import service_pb2

from core.storage import client
from tests.unit.serving import web
from tests.unit.serving.bodies import tensors
from tests.unit.serving.models import Trained
from tests.unit.serving.rpcs import INFER, known, request, start, stub
from tests.unit.serving.servers import Launcher

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_who_asks_can_find_the_rpc_again(launcher: Launcher, wine: Trained) -> None:
    server, address = start(launcher, wine.onnx, ACCESS_LOG="1")
    server.wait_until_ready()
    rows = known(wine.rows(1, 2))
    tracing = (("traceparent", TRACE), ("x-request-id", "r-7"))

    with stub(address) as service:
        _, call = service.ModelInfer.with_call(request(tensors(rows)), metadata=tracing)
        with pytest.raises(grpc.RpcError) as refused:
            service.ModelInfer(request([]), metadata=tracing)
        _, asked = service.ServerLive.with_call(service_pb2.ServerLiveRequest(), metadata=tracing)
    metrics = web.get(f"{server.url}/metrics").text

    expected = {"traceparent": TRACE, "x-request-id": "r-7", "x-model-version": "3", "x-model-engine": "onnx"}
    assert dict(call.trailing_metadata()) == dict(refused.value.trailing_metadata()) == dict(asked.trailing_metadata()) == expected
    assert 'model_requests_total{code="200",protocol="grpc"} 1.0' in metrics
    assert 'model_requests_total{code="400",protocol="grpc"} 1.0' in metrics
    assert 'model_rows_total{protocol="grpc"} 2.0' in metrics
    lines = [orjson.loads(line) for line in server.text().splitlines() if line.startswith("{")]
    found = [(line["path"], line["status"], line["rows"], line["traceparent"]) for line in lines if line["request_id"] == "r-7"]
    assert found == [(INFER, 200, 2, TRACE), (INFER, 400, 0, TRACE)]


def test_what_is_asked_is_in_the_prediction_log(launcher: Launcher, wine: Trained) -> None:
    rows = known(wine.rows(5, 6, 7))
    server, address = start(launcher, wine.onnx, PREDICTION_LOG="1")
    server.wait_until_ready()

    with stub(address) as service:
        service.ModelInfer(request(tensors(rows), id="mine", raw=True), metadata=(("traceparent", TRACE),))
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(15) == 0
    logged = [row for row in predictions() if row["_request_id"] == "mine"]
    assert [{name: row[name] for name in rows[0]} for row in logged] == rows
    assert wine.same([row["_probability"] for row in logged], rows)
    assert {row["_trace"] for row in logged} == {TRACE}


def predictions() -> list[dict[str, Any]]:
    storage = client()
    names = [str(item.object_name) for item in storage.list_objects("predictions", "wine/", recursive=True)]
    return [row for name in names for row in pq.read_table(io.BytesIO(storage.get_object("predictions", name).read())).to_pylist()]
