"""What KServe's SDK client makes of a server: run in an environment of its own by test_clients.py, prints JSON."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig  # type: ignore[import-not-found]


async def main(url: str, rows: list[dict[str, Any]], missing: list[dict[str, Any]]) -> dict[str, Any]:
    first, second = InferenceRESTClient(RESTConfig(protocol="v1")), InferenceRESTClient(RESTConfig(protocol="v2"))
    answer = await first.infer(url, {"instances": missing}, model_name="wine")
    tensors = await second.infer(url, request(rows, False), model_name="wine")
    binary = await second.infer(url, request(rows, True), model_name="wine")
    health = [await first.is_server_live(url), await second.is_server_live(url), await second.is_server_ready(url)]
    ready = await second.is_model_ready(url, "wine")
    return {
        "v1": answer["predictions"],
        "v2": tensors.outputs[0].data,
        "v2 binary": [value.decode() if isinstance(value, bytes) else value for value in binary.outputs[0].as_numpy().tolist()],
        "proba": binary.outputs[1].as_numpy().tolist(),
        "health": [*health, ready],
        "error": await error(first, url),
    }


def request(rows: list[dict[str, Any]], binary: bool) -> InferRequest:
    inputs = []
    for name in rows[0]:
        is_text = name == "region"
        inputs.append(InferInput(name, [len(rows)], "BYTES" if is_text else "FP64"))
        values = np.array([row[name] for row in rows], dtype=object if is_text else np.float64)
        inputs[-1].set_data_from_numpy(values, binary_data=binary)
    return InferRequest("wine", inputs)


async def error(client: InferenceRESTClient, url: str) -> list[Any]:
    try:
        await client.infer(url, {"instances": [{"alcohol": 1.0}]}, model_name="wine")
    except httpx.HTTPStatusError as raised:
        return [raised.response.status_code, raised.response.json()["error"]]
    return []


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(**json.loads(Path(sys.argv[1]).read_text())))))
