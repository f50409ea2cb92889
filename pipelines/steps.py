"""The components as the pipelines use them: each task with the same hardening, resources, patience, caching and environment."""

from collections.abc import Callable
from typing import Any

from kfp import dsl, kubernetes

from components.deploy.component import deploy, serve
from components.evaluate.component import evaluate
from components.extract.component import extract
from components.load.component import load
from components.register.component import register
from components.report.component import report
from components.step import IMAGE
from components.train.component import refit, train
from components.transform.component import transform
from components.validate.component import validate
from core.cluster import TOKEN, TOKEN_FOLDER
from core.config import LIMITED_AS, Spark, Step, UseCase
from core.configtext import USECASE
from core.mlflow_connection import FALLBACK
from core.pod_template import POD_TEMPLATE
from core.resources import requests
from core.sources import ENVIRONMENT
from core.step_cache import SWITCH
from pipelines.images import DRIVER, with_spark

SETTINGS = "mlops"  # the ConfigMap of the run's namespace
CREDENTIALS = "mlops-s3"  # the Secret of the steps' S3 user
SOURCES = "mlops-sources"  # the Secret of the servers that data come from; it may be missing
SOURCES_FOLDER = "/etc/mlops-sources"  # where its keys are files: certificates, netrc, pg_service.conf
# Waiting OpenMP threads that spin make a fit ten times slower on a busy machine. One BLAS thread: the same sums on any number of cores.
THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
CERTIFICATES, CERTIFICATES_FOLDER = "mlops-ca", "/etc/mlops-ca"  # the ConfigMap of a private CA, which SSL_CERT_FILE names
RENAMED = {"MLFLOW_TRACKING_URI": FALLBACK}  # key of the ConfigMap: variable
CONNECTION = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_REGION", "MLOPS_STORAGE", "SSL_CERT_FILE")
SERVING = (
    "SERVING_NAMESPACE",
    "SERVING_MIN_REPLICAS",
    "SERVING_MAX_REPLICAS",
    "SERVING_MIN_READY_SECONDS",
    "SERVING_TIMEOUT_SECONDS",
    "SERVING_SERVICE_TYPE",
    "SERVING_GRPC_PORT",
    "SERVING_ACCOUNT_ANNOTATIONS",
    "SERVING_IMAGES",
    "SERVING_ROUTE",
    "SERVING_HOST",
    "SERVING_GATEWAY",
    "SERVING_INGRESS_CLASS",
    "SERVING_TLS_SECRET",
    "SERVING_PUBLIC_PATHS",
    "SERVING_ROUTE_ANNOTATIONS",
)
LABELS = {  # by which the NetworkPolicies of k8s/base/pipeline select the pod; no Istio sidecar, which has no use here
    "app.kubernetes.io/name": "pipeline",
    "app.kubernetes.io/component": "pipeline",
    "app.kubernetes.io/part-of": "mlops",
    "sidecar.istio.io/inject": "false",
}
SECRETS = {  # Secrets of the run's namespace, each of which may be missing, and their keys
    CREDENTIALS: ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "mlops-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    "mlops-proxy": ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
}


class Steps:
    """The steps of one use case's pipelines.

    Kubeflow's cache is off: steps whose outputs depend on their inputs alone have one of their own (core/step_cache.py).
    No step has a retry policy: a stock Kubeflow does not run a failed step again, so each call to another server is retried
    inside the step (core/retry.py). Kubeflow does run a step again whose pod was evicted or refused: every step may be.
    """

    def __init__(self, usecase: UseCase, *, caching: bool = True) -> None:
        self._usecase, self._caching = usecase, caching
        self.extract = self._task(extract, sources=True)
        self.validate = self._task(validate)
        self.transform = self._task(transform, spark=usecase.spark)
        self.train = self._task(train)
        self.evaluate = self._task(evaluate)
        self.refit = self._task(refit)
        self.register = self._task(register)
        self.deploy = self._task(deploy, deployer=True)
        self.serve = self._task(serve, deployer=True)
        self.load = self._task(load, sources=True)
        self.report = self._task(report)

    def _task(self, component: Any, *, sources: bool = False, deployer: bool = False, spark: Spark | None = None) -> Callable[..., dsl.PipelineTask]:
        """Give every task of a component its settings.

        Args:
            component: The component.
            sources: Whether it talks to the servers that data come from or go to.
            deployer: Whether it changes what serves: only such a task gets the token and the settings for it.
            spark: With which Spark it works.
        """

        def task(**inputs: Any) -> dsl.PipelineTask:
            made = component(**inputs)
            made.set_caching_options(False)
            if not self._caching:
                made.set_env_variable(SWITCH, "off")
            limits = self._usecase.limits
            _limit(made, limits.steps[LIMITED_AS.get(component.name, component.name)], limits.requests)
            _harden(made)
            _equip(made)
            made.set_env_variable(USECASE, self._usecase.name)
            for label, value in LABELS.items():
                kubernetes.add_pod_label(made, label, value)
            if sources:
                _introduce(made)
            if deployer:
                _empower(made)
            if spark:
                _enlarge(made, spark)
            return made

        return task


def _limit(task: dsl.PipelineTask, limits: Step, share: float) -> None:
    """Set requests, limits, GPUs and the time after which the pod is stopped."""
    requested = requests(limits.cpu, limits.memory, share)
    task.set_cpu_request(requested["cpu"]).set_cpu_limit(limits.cpu)
    task.set_memory_request(requested["memory"]).set_memory_limit(limits.memory)
    if limits.gpus:
        task.set_accelerator_type(limits.gpu).set_accelerator_limit(limits.gpus)
    kubernetes.set_timeout(task, limits.minutes * 60)


def _harden(task: dsl.PipelineTask) -> None:
    """Fit the pod for Pod Security `restricted`: KFP itself drops capabilities, refuses escalation and sets seccomp.

    The user is the image's, or the one that OpenShift assigns.
    """
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.empty_dir_mount(task, volume_name="tmp", mount_path="/tmp")  # noqa: S108  (all that a step may write to)


def _equip(task: dsl.PipelineTask) -> None:
    """Set the environment: addresses and credentials come from the namespace and may be missing there."""
    for name, value in THREADS.items():
        task.set_env_variable(name, value)
    task.set_env_variable("IMAGE", IMAGE)  # by which a registered version is served later
    kubernetes.use_field_path_as_env(task, "KFP_RUN_ID", "metadata.labels['pipeline/runid']")
    kubernetes.use_config_map_as_env(task, SETTINGS, RENAMED | {name: name for name in (*CONNECTION, POD_TEMPLATE)}, optional=True)
    kubernetes.use_config_map_as_volume(task, CERTIFICATES, CERTIFICATES_FOLDER, optional=True)
    for secret, keys in SECRETS.items():
        kubernetes.use_secret_as_env(task, secret, {name: name for name in keys}, optional=True)


def _empower(task: dsl.PipelineTask) -> None:
    """Let a task change what serves."""
    kubernetes.use_config_map_as_env(task, SETTINGS, {name: name for name in SERVING}, optional=True)
    kubernetes.use_secret_as_volume(task, TOKEN, TOKEN_FOLDER, optional=True)


def _introduce(task: dsl.PipelineTask) -> None:
    """Give a task the addresses and credentials of the servers that data come from or go to, if the namespace has them."""
    kubernetes.use_secret_as_env(task, SOURCES, {name: name for name in ENVIRONMENT}, optional=True)
    kubernetes.use_secret_as_volume(task, SOURCES, SOURCES_FOLDER, optional=True)


def _enlarge(task: dsl.PipelineTask, spark: Spark) -> None:
    """Give a task the image with Spark, and let its executors reach it."""
    task.set_container_image(with_spark(IMAGE))
    task.set_env_variable("SPARK_IMAGE", with_spark(IMAGE))
    if spark.on_cluster:
        for name, value in DRIVER.items():
            kubernetes.add_pod_label(task, name, value)
