"""Runs a compiled pipeline on Kubeflow: a version named by commit and contents, a run in an experiment, its link."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import yaml
from kfp_server_api import (
    ApiException,
    ExperimentServiceApi,
    PipelineServiceApi,
    PipelineUploadServiceApi,
    RunServiceApi,
    V2beta1Experiment,
    V2beta1Pipeline,
    V2beta1PipelineVersionReference,
    V2beta1Run,
    V2beta1RuntimeConfig,
)

from core.errors import UserError
from pipelines.kubeflow import Kubeflow

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
MYSQL_LIMIT = 0xFFFF  # the last code point that Kubeflow's MySQL stores: its character set is utf8 with three bytes


@dataclass(frozen=True)
class Submission:
    """What is submitted.

    Attributes:
        usecase: Name of the use case, and of the experiment.
        package: The compiled YAML.
        config: The use case as YAML text: the run's parameter `config`.
        commit: The git commit, with -dirty if files differ from it.
        title: Display name of the run.
        description: Markdown on the run's page.
        pipeline_description: Markdown on the pipeline's page.
        version_description: Markdown on the version's page.
        service_account: ServiceAccount of the run's pods.
        pipeline_root: Where the artifacts are stored.
    """

    usecase: str
    package: Path
    config: str
    commit: str
    title: str
    description: str
    pipeline_description: str
    version_description: str
    service_account: str
    pipeline_root: str

    @property
    def version(self) -> str:
        """Name of the pipeline's version: the commit, and a hash of the YAML, in which image and settings differ."""
        commit, dirty, _ = self.commit.partition("-dirty")
        return f"{commit[:12]}{dirty}-{hashlib.sha256(self.package.read_bytes()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Submitted:
    """A run that Kubeflow has accepted."""

    run_id: str
    link: str


def submit(kubeflow: Kubeflow, submission: Submission) -> Submitted:
    """Upload the package as a version of its pipeline, unless that version is there, and run it.

    Raises:
        UserError: Kubeflow refuses, stops answering, or cannot store a character.
    """
    _require_storable(submission)
    with kubeflow.errors():
        pipeline = _pipeline(kubeflow, submission)
        reference = V2beta1PipelineVersionReference(pipeline, _version(kubeflow, pipeline, submission))
        experiment = _experiment(kubeflow, submission)
        runs = RunServiceApi(kubeflow.api)
        number = (runs.run_service_list_runs(experiment_id=experiment, page_size=1, **kubeflow.scope).total_size or 0) + 1
        run = runs.run_service_create_run(
            V2beta1Run(
                experiment_id=experiment,
                display_name=f"{submission.title}, #{number}",
                description=submission.description,
                pipeline_version_reference=reference,
                runtime_config=V2beta1RuntimeConfig({"config": submission.config}, submission.pipeline_root),
                service_account=submission.service_account,
            ),
            experiment_id=experiment,
        )
    return Submitted(run.run_id, f"{kubeflow.endpoint}/#/runs/details/{run.run_id}")


def _require_storable(submission: Submission) -> None:
    for number, line in enumerate(submission.config.splitlines(), 1):
        for character in line:
            if ord(character) > MYSQL_LIMIT:
                place = f"usecases/{submission.usecase}/config.yaml line {number}"
                raise UserError(f"{place}: Kubeflow's database cannot store {character!r} (MySQL, character set utf8): remove it")


def _pipeline(kubeflow: Kubeflow, submission: Submission) -> str:
    """Return the id of the pipeline; without a first version, since `upload_pipeline` would name that after the pipeline."""
    name = next(yaml.load_all(submission.package.read_text(encoding="utf-8"), yaml.CSafeLoader))["pipelineInfo"]["name"]
    service = PipelineServiceApi(kubeflow.api)
    existing = service.pipeline_service_list_pipelines(filter=_named(name), **kubeflow.scope).pipelines
    if existing:
        return str(existing[0].pipeline_id)
    new = V2beta1Pipeline(name=name, display_name=name, description=submission.pipeline_description, **kubeflow.scope)
    return str(service.pipeline_service_create_pipeline(new).pipeline_id)


def _version(kubeflow: Kubeflow, pipeline: str, submission: Submission) -> str:
    """Return the id of the version. Its name has a hash of its contents, so one that is there is the same."""
    name = submission.version
    try:
        uploads = PipelineUploadServiceApi(kubeflow.api)
        new = uploads.upload_pipeline_version(str(submission.package), name=name, pipelineid=pipeline, description=submission.version_description)
        return str(new.pipeline_version_id)
    except ApiException as error:
        if error.status != 409:
            raise
    versions = PipelineServiceApi(kubeflow.api).pipeline_service_list_pipeline_versions(pipeline, filter=_named(name))
    return str(versions.pipeline_versions[0].pipeline_version_id)


def _experiment(kubeflow: Kubeflow, submission: Submission) -> str:
    service = ExperimentServiceApi(kubeflow.api)
    existing = service.experiment_service_list_experiments(filter=_named(submission.usecase), **kubeflow.scope).experiments
    if existing:
        return str(existing[0].experiment_id)
    new = V2beta1Experiment(display_name=submission.usecase, description=f"Runs of the use case {submission.usecase}", **kubeflow.scope)
    return str(service.experiment_service_create_experiment(new).experiment_id)


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})
