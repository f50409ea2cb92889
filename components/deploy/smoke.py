"""The smoke test: the golden rows through the real protocol, the answers against those of training."""

import requests

from core.bundle import Bundle, differences
from core.errors import UserError

SECONDS = 30
SHOWN = 3


def replay(address: str, bundle: Bundle, version: str) -> None:
    """Ask a server for the golden rows.

    Args:
        address: Where it answers.
        bundle: What it should serve, with the golden rows and the answers of training.
        version: The version that must answer.

    Raises:
        UserError: It does not answer, another version answers, or answers differ.
    """
    name, golden = bundle.manifest.name, bundle.golden
    url = f"{address}/v2/models/{name}/versions/{version}/infer"
    columns = {item: [row[item.name] for row in golden.rows] for item in bundle.manifest.inputs}
    tensors = [{"name": item.name, "shape": [len(golden.rows)], "datatype": item.datatype, "data": data} for item, data in columns.items()]
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, json={"inputs": tensors}, timeout=SECONDS)
            body = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise UserError(f"version {version} of {name} does not answer the smoke test: {type(error).__name__}") from error
    if not answer.ok:
        raise UserError(f"version {version} of {name} refuses the golden rows: {body.get('error')}")
    if body.get("model_version") != version:
        raise UserError(f"version {body.get('model_version')} of {name} answered, not {version}")
    outputs = {item["name"]: item for item in body["outputs"]}
    probabilities = _rows(outputs["predict_proba"]) if "predict_proba" in outputs else None
    found = differences(golden, outputs["predict"]["data"], probabilities)
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(f"version {version} of {name} answers otherwise than in training: {'; '.join(found[:SHOWN])}{more}")


def _rows(output: dict[str, list[float]]) -> list[list[float]]:
    data, width = output["data"], int(output["shape"][1])
    return [data[start : start + width] for start in range(0, len(data), width)]
