"""Runs a compiled pipeline on Kubeflow: a version named by git commit, a run in an experiment, its link."""

import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import yaml
from google.protobuf.json_format import ParseDict
from kfp import Client
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec
from kfp_server_api import ApiException, V2beta1Pipeline

from core.errors import UserError
from pipelines.kubeflow import address, check, connect, errors

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


@dataclass(frozen=True)
class Submitted:
    """A run that Kubeflow has accepted."""

    run_id: str
    link: str


def submit(
    usecase_name: str, package: Path, config: str, *, experiment: str, version: str, host: str | None = None, namespace: str | None = None
) -> Submitted:
    """Upload the package as a version of its pipeline, once, and run it.

    Args:
        usecase_name: What the run is called, with the version.
        package: The compiled YAML.
        config: The use case, as YAML text: the pipeline's parameter `config`.
        experiment: Where the run is filed; made if it is not there.
        version: Name of the pipeline's version: the git commit.
        host: Address of Kubeflow Pipelines; the environment variable KFP_ENDPOINT if None.
        namespace: The user's namespace where Kubeflow is multi-user.

    Raises:
        UserError: Kubeflow cannot be reached, refuses, or knows this version with other contents.
    """
    endpoint = address(host)
    check(endpoint, namespace)
    with errors(endpoint), redirect_stdout(StringIO()):  # kfp prints a link for each thing that it makes
        client = connect(endpoint, namespace)
        pipeline_id = find_or_create_pipeline(client, package, namespace)
        version_id = find_or_upload_version(client, pipeline_id, package, version)
        folder = client.create_experiment(experiment, namespace=namespace)
        name = f"{usecase_name} {version[:12]}"
        run = client.run_pipeline(folder.experiment_id, name, params={"config": config}, pipeline_id=pipeline_id, version_id=version_id)
    return Submitted(run.run_id, f"{endpoint}/#/runs/details/{run.run_id}")


def find_or_create_pipeline(client: Client, package: Path, namespace: str | None) -> str:
    """Return the id of the pipeline whose name stands in the package."""
    name = _spec(package.read_text()).pipeline_info.name
    scope = {"namespace": namespace} if namespace else {}
    found = client.pipelines.pipeline_service_list_pipelines(filter=_named(name), **scope).pipelines
    if not found:
        # Without a first version, which `upload_pipeline` would name after the pipeline instead of the commit.
        found = [client.pipelines.pipeline_service_create_pipeline(V2beta1Pipeline(name=name, display_name=name, **scope))]
    return str(found[0].pipeline_id)


def find_or_upload_version(client: Client, pipeline_id: str, package: Path, version: str) -> str:
    """Return the id of the version, which never changes once it is there."""
    try:
        return str(client.upload_pipeline_version(str(package), version, pipeline_id=pipeline_id).pipeline_version_id)
    except ApiException as error:
        if error.status != 409:
            raise
    existing = client.list_pipeline_versions(pipeline_id, filter=_named(version)).pipeline_versions[0]
    if _spec(yaml.safe_dump(existing.pipeline_spec)) != _spec(package.read_text()):
        raise UserError(
            f"version {version} of this pipeline is on Kubeflow with other contents: commit the change, or name the image that it was submitted with"
        )
    return str(existing.pipeline_version_id)


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _spec(text: str) -> PipelineSpec:
    document = next(yaml.safe_load_all(text))
    return ParseDict(document.get("pipeline_spec", document), PipelineSpec())
