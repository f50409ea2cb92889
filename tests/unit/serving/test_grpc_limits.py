"""What gRPC's clients cannot do to a server."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import psutil
import pytest
from tritonclient.grpc import service_pb2

from tests.unit.serving import web
from tests.unit.serving.bodies import tensors
from tests.unit.serving.models import Trained
from tests.unit.serving.rpcs import INFER, refusal, request, start, stub, values
from tests.unit.serving.servers import Launcher, Running

MEGABYTE = 1024 * 1024
IMPATIENT = "import serving.rpc.methods\nserving.rpc.methods.READ_SECONDS = 1.0\n"


@pytest.fixture(scope="module")
def served(launcher: Launcher, wine: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Running, str]:
    """A server that waits one second for a message instead of ten."""
    place = tmp_path_factory.mktemp("impatient")
    (place / "sitecustomize.py").write_text(IMPATIENT)
    server, address = start(launcher, wine.onnx, PYTHONPATH=f"{place}:.")
    return server.wait_until_ready(), address


@pytest.fixture
def address(served: tuple[Running, str]) -> str:
    return served[1]


def of_rows(number: int) -> bytes:
    """A request without text, which is one tensor short of being understood, or of `number` rows."""
    message = request([])
    for name in ("alcohol", "proline", "hue"):
        message.inputs.add(name=name, datatype="FP64", shape=[number])
        message.raw_input_contents.append(bytes(8 * number))
    message.inputs.add(name="region", datatype="BYTES", shape=[number])
    message.raw_input_contents.append(bytes(4 * number))
    return bytes(message.SerializeToString())


def code(future: grpc.Future) -> str:
    return str(future.exception(timeout=30).code().name)


def test_a_message_beyond_the_limit_is_refused_by_grpc_itself(address: str) -> None:
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        refused = refusal(channel.unary_unary(INFER), of_rows(700_000))
        answered = service_pb2.ModelInferResponse.FromString(channel.unary_unary(INFER)(of_rows(200_000), timeout=30))

    assert refused[0] == "RESOURCE_EXHAUSTED"
    assert "larger than max" in refused[1]
    assert [list(output.shape) for output in answered.outputs] == [[200_000], [200_000, 3]]


def test_too_many_rows_are_refused_as_over_http(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        refused = refusal(channel.unary_unary(INFER), of_rows(250_001))

    assert refused == ("INVALID_ARGUMENT", "250001 rows are more than 250000: send fewer a request")


def test_a_compressed_message_is_not_unpacked(served: tuple[Running, str]) -> None:
    server, address = served
    before = psutil.Process(server.process.pid).memory_info().rss

    with grpc.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
        refused = [refusal(channel.unary_unary(INFER), bytes(200 * MEGABYTE)) for _ in range(2)]

    assert {code for code, _ in refused} == {"UNIMPLEMENTED"}
    assert psutil.Process(server.process.pid).memory_info().rss - before < 100 * MEGABYTE


@pytest.mark.parametrize("body", [b"\xff\xff", b"no message", request([], id="x").SerializeToString().replace(b"x", b"\xff")])
def test_bytes_that_are_no_message_are_an_invalid_argument(address: str, body: bytes) -> None:
    with grpc.insecure_channel(address) as channel:
        refused = refusal(channel.unary_unary(INFER), body)

    assert refused == ("INVALID_ARGUMENT", "the message is not a ModelInferRequest of the Open Inference Protocol")


def test_an_rpc_without_a_message_is_an_invalid_argument(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        refused = refusal(channel.stream_unary(INFER), iter(()))

    assert refused == ("INVALID_ARGUMENT", "there is no message: send one")


def test_another_method_is_unimplemented(address: str) -> None:
    with stub(address) as service:
        assert refusal(service.ModelConfig, service_pb2.ModelConfigRequest())[0] == "UNIMPLEMENTED"


def test_a_sentence_that_a_client_makes_long_is_cut(address: str) -> None:
    with stub(address) as service:
        code, said = refusal(service.ModelInfer, request([], model="é" * MEGABYTE))

    assert code == "NOT_FOUND"
    assert said.startswith("this server has wine version 3, not éé")
    assert len(said) < 2000


def test_clients_that_send_nothing_are_cut_off_and_keep_nobody_from_asking(served: tuple[Running, str], wine: Trained) -> None:
    server, address = served
    before, ended = slow_clients(server), threading.Event()

    def never() -> Iterator[bytes]:
        ended.wait()
        yield b""

    with grpc.insecure_channel(address) as channel, stub(address) as service:
        begun = time.monotonic()
        stalled = [channel.stream_unary(INFER).future(never()) for _ in range(20)]
        time.sleep(0.2)
        answer = service.ModelInfer(request(tensors(wine.rows(1))), timeout=10)
        seconds = time.monotonic() - begun
        codes = {code(future) for future in stalled}
        ended.set()

    assert wine.same(values(answer)["predict_proba"], wine.rows(1))
    assert seconds < 5
    assert codes == {"DEADLINE_EXCEEDED"}
    assert slow_clients(server) - before == 20


def slow_clients(server: Running) -> float:
    (found,) = re.findall(r"^model_slow_clients_total (.*)$", web.get(f"{server.url}/metrics").text, re.MULTILINE)
    return float(found)


def test_more_rpcs_at_once_than_the_limit_are_refused_by_grpc_itself(launcher: Launcher, wine: Trained) -> None:
    server, address = start(launcher, wine.onnx)
    server.wait_until_ready()

    outcomes = asyncio.run(crowd(address, 1040))
    with stub(address) as service:
        answer = service.ModelInfer(request(tensors(wine.rows(1))), timeout=10)

    assert (len(outcomes), set(outcomes)) == (16, {"RESOURCE_EXHAUSTED"})
    assert wine.same(values(answer)["predict_proba"], wine.rows(1))


async def crowd(address: str, number: int) -> list[str]:
    """Begin RPCs on two connections and send nothing; return the codes of those that end."""
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])) for _ in range(2)]
        calls = [channels[place % 2].stream_unary(INFER)() for place in range(number)]
        await asyncio.sleep(3)
        ended = [(await call.code()).name for call in calls if call.done()]
        for call in calls:
            call.cancel()
    return ended


def test_large_messages_at_once_keep_the_memory_bounded(launcher: Launcher, wine: Trained) -> None:
    server, address = start(launcher, wine.onnx)
    server.wait_until_ready()
    process, body, most = psutil.Process(server.process.pid), bytes(16 * MEGABYTE - 100), 0
    before = process.memory_info().rss

    def send(_: int) -> tuple[str, str]:
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            return refusal(channel.unary_unary(INFER), body)

    with ThreadPoolExecutor(100) as threads:
        sent = [threads.submit(send, number) for number in range(100)]
        while not all(future.done() for future in sent):
            most = max(most, process.memory_info().rss - before)
            time.sleep(0.01)

    assert {future.result()[0] for future in sent} <= {"INVALID_ARGUMENT", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert most < 300 * MEGABYTE


def test_a_deadline_that_passes_is_the_clients_and_the_server_goes_on(address: str, wine: Trained) -> None:
    with stub(address) as service, grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(INFER)(of_rows(240_000), timeout=0.01)
        answer = service.ModelInfer(request(tensors(wine.rows(1))), timeout=10)

    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert wine.same(values(answer)["predict_proba"], wine.rows(1))
