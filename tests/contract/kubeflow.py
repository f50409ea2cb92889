"""A server that speaks the shapes of the KFP v2beta1 REST API, keeps what it is given and refuses what the real one refuses."""

import email.policy
import json
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
import yaml
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType, PipelineSpec

API = "/apis/v2beta1"


class Kubeflow(ThreadingHTTPServer):
    """What the server has been given, and how it should behave."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.states = ["SUCCEEDED"]
        self.tasks: list[list[dict[str, Any]]] = [[]]  # what each look at the run shows, the last one for ever
        self.status = 200
        self.logs: dict[str, str] = {}  # of pods
        self.multi_user = False
        self.token: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class RefusalError(Exception):
    """An answer that is not 200."""


class Handler(BaseHTTPRequestHandler):
    server: Kubeflow

    def do_GET(self) -> None:
        self.answer({f"{API}/healthz": self.health, f"{API}/pipelines": self.list_pipelines, f"{API}/experiments": self.list_experiments})

    def do_POST(self) -> None:
        self.answer(
            {
                f"{API}/pipelines": self.create_pipeline,
                f"{API}/pipelines/upload_version": self.upload_version,
                f"{API}/experiments": self.create_experiment,
                f"{API}/runs": self.create_run,
            }
        )

    def answer(self, routes: dict[str, Any]) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = urlsplit(self.path).path
        self.query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        try:
            if self.server.status != 200:
                raise RefusalError(self.server.status, "no")
            login = (f"Bearer {self.server.token}", f"oauth2_proxy_kubeflow={self.server.token}")
            if self.server.token and self.headers["authorization"] != login[0] and self.headers["cookie"] != login[1]:
                raise RefusalError(401, "no token")
            if path.startswith("/apis/v1alpha1/") and (log := self.server.logs.get(path.split("/")[-2])):
                return self.text(log)
            handle = routes.get(path) or self.nested(path)
            self.reply(200, handle())
        except RefusalError as refusal:
            self.reply(refusal.args[0], {"code": 3, "message": refusal.args[1]})

    def nested(self, path: str) -> Any:
        parts = path.removeprefix(f"{API}/").split("/")
        if parts == ["runs"]:
            return self.list_runs
        if parts[0] == "runs" and len(parts) == 2:
            return lambda: self.get_run(parts[1])
        if parts[0] == "pipelines" and parts[2:] == ["versions"]:
            return lambda: {"pipeline_versions": matching(self.server.versions, self.query, pipeline_id=parts[1])}
        raise RefusalError(404, "Not Found")

    def text(self, text: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def reply(self, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def health(self) -> dict[str, Any]:
        return {"multi_user": self.server.multi_user}

    def list_pipelines(self) -> dict[str, Any]:
        return {"pipelines": matching(self.server.pipelines, self.query, **self.scope(self.query))}

    def create_pipeline(self) -> dict[str, Any]:
        pipeline = known(self.body, kfp_server_api.V2beta1Pipeline, required=("name", "display_name"))
        return store(self.server.pipelines, "pipeline_id", pipeline | self.scope(pipeline))

    def upload_version(self) -> dict[str, Any]:
        if self.query.get("pipelineid") not in self.server.pipelines:
            raise RefusalError(404, "pipeline not found")
        document = package(self.headers["content-type"], self.body)
        if matching(self.server.versions, {}, pipeline_id=self.query["pipelineid"], display_name=self.query["name"]):
            raise RefusalError(409, "The pipeline version name already exists")
        version = {"pipeline_id": self.query["pipelineid"], "name": self.query["name"], "display_name": self.query["name"], "pipeline_spec": document}
        version |= {"description": self.query.get("description", "")}
        return store(self.server.versions, "pipeline_version_id", version)

    def list_experiments(self) -> dict[str, Any]:
        return {"experiments": matching(self.server.experiments, self.query, **self.scope(self.query))}

    def create_experiment(self) -> dict[str, Any]:
        experiment = known(self.body, kfp_server_api.V2beta1Experiment, required=("display_name",))
        return store(self.server.experiments, "experiment_id", experiment | self.scope(experiment))

    def create_run(self) -> dict[str, Any]:
        run = known(self.body, kfp_server_api.V2beta1Run, required=("display_name", "experiment_id", "pipeline_version_reference", "runtime_config"))
        version = self.server.versions.get(run["pipeline_version_reference"]["pipeline_version_id"])
        if version is None or run["experiment_id"] not in self.server.experiments:
            raise RefusalError(404, "no such version or experiment")
        check_parameters(version["pipeline_spec"], run["runtime_config"]["parameters"])
        return store(self.server.runs, "run_id", run | {"state": "PENDING"})

    def list_runs(self) -> dict[str, Any]:
        return {"total_size": len(matching(self.server.runs, {}, experiment_id=self.query["experiment_id"]))}

    def get_run(self, run_id: str) -> dict[str, Any]:
        return self.server.runs[run_id] | {"state": following(self.server.states), "run_details": {"task_details": following(self.server.tasks)}}

    def scope(self, given: dict[str, Any]) -> dict[str, str]:
        if self.server.multi_user != bool(given.get("namespace")):
            raise RefusalError(400, "a namespace belongs to multi-user mode, and to it alone")
        return {"namespace": given.get("namespace") or ""}


def following(story: list[Any]) -> Any:
    return story.pop(0) if len(story) > 1 else story[0]


def matching(things: dict[str, dict[str, Any]], query: dict[str, str], **fields: str) -> list[dict[str, Any]]:
    for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
        assert predicate["operation"] in (1, "EQUALS")
        fields[predicate["key"]] = predicate["stringValue"]
    return [thing for thing in things.values() if all(thing[key] == value for key, value in fields.items())]


def store(things: dict[str, dict[str, Any]], key: str, thing: dict[str, Any]) -> dict[str, Any]:
    name = f"{key.removesuffix('_id')}-{len(things) + 1}"
    things[name] = {key: name, **thing}
    return things[name]


def known(body: bytes, model: Any, required: tuple[str, ...]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    if set(document) - set(model.attribute_map.values()) or not all(document.get(key) for key in required):
        raise RefusalError(400, f"unknown or missing fields in {sorted(document)}")
    return document


def package(content_type: str, body: bytes) -> dict[str, Any]:
    message = BytesParser(policy=email.policy.HTTP).parsebytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + body)
    part = next(part for part in message.iter_parts() if part.get_param("name", header="content-disposition") == "uploadfile")
    document: dict[str, Any] = next(yaml.safe_load_all(part.get_content()))
    ParseDict(document, PipelineSpec())
    return document


def check_parameters(document: dict[str, Any], given: dict[str, Any]) -> None:
    declared = ParseDict(document, PipelineSpec()).root.input_definitions.parameters
    if set(given) - set(declared):
        raise RefusalError(400, "parameter not found")
    if not all(isinstance(given[name], dict) for name in given if declared[name].parameter_type == ParameterType.STRUCT):
        raise RefusalError(400, "a STRUCT must be an object")
