"""The components as the pipelines use them: each task with the same hardening, resources, caching and environment."""

from collections.abc import Callable
from typing import Any

from kfp import dsl, kubernetes

from components.deploy.component import deploy as _deploy
from components.evaluate.component import evaluate as _evaluate
from components.extract.component import extract as _extract
from components.register.component import register as _register
from components.report.component import report as _report
from components.train.component import train as _train
from components.transform.component import transform as _transform
from components.validate.component import validate as _validate

USER = 10001
SETTINGS = "mlops"  # the ConfigMap of addresses in the run's namespace
CREDENTIALS = "mlops-s3"  # the Secret of the steps' S3 user
# Waiting OpenMP threads that spin make a fit ten times slower on a busy machine. One BLAS thread: the same sums on any number of cores.
THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
ADDRESSES = ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "MLFLOW_TRACKING_URI")
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def _hardened(component: Callable[..., Any], *, cached: bool, cpu: str, memory: str) -> Callable[..., dsl.PipelineTask]:
    """Give every task of a component its settings.

    Args:
        component: The component.
        cached: Whether its result depends on its inputs alone.
        cpu: Limit, in cores.
        memory: Limit; half of it is requested.
    """

    def task(**inputs: Any) -> dsl.PipelineTask:
        made = component(**inputs)
        made.set_caching_options(cached)
        made.set_cpu_request("250m").set_cpu_limit(cpu).set_memory_request("256Mi").set_memory_limit(memory)
        for name, value in THREADS.items():
            made.set_env_variable(name, value)
        kubernetes.set_security_context(made, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
        kubernetes.empty_dir_mount(made, volume_name="tmp", mount_path="/tmp")  # noqa: S108  (all that a step may write to)
        kubernetes.use_field_path_as_env(made, "KFP_RUN_ID", "metadata.labels['pipeline/runid']")
        kubernetes.use_config_map_as_env(made, SETTINGS, {name: name for name in ADDRESSES}, optional=True)
        kubernetes.use_secret_as_env(made, CREDENTIALS, {name: name for name in KEYS}, optional=True)
        return made

    return task


extract = _hardened(_extract, cached=False, cpu="1", memory="1Gi")
validate = _hardened(_validate, cached=True, cpu="1", memory="2Gi")
transform = _hardened(_transform, cached=True, cpu="2", memory="2Gi")
train = _hardened(_train, cached=True, cpu="2", memory="4Gi")
evaluate = _hardened(_evaluate, cached=False, cpu="1", memory="2Gi")
register = _hardened(_register, cached=False, cpu="1", memory="1Gi")
deploy = _hardened(_deploy, cached=False, cpu="500m", memory="512Mi")
report = _hardened(_report, cached=False, cpu="500m", memory="512Mi")
