"""Runs a command of the image inside a cluster: one Job made from the CronJob `mlops`, its log followed, its outcome taken over."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress

from kubernetes import client
from kubernetes.client import ApiClient, ApiException, V1ConfigMap, V1Container, V1CronJob, V1Job, V1ObjectMeta, V1PodTemplateSpec
from urllib3.exceptions import HTTPError

from core.errors import UserError
from core.signals import terminable
from pipelines.cluster import connect, errors
from pipelines.images import DRIVER, with_spark
from pipelines.pod import Follower

TEMPLATE = "mlops"  # the CronJob, suspended for ever, and its container
FOLDER = "/run/mlops"  # where the files are


def run(
    namespace: str,
    name: str,
    command: list[str],
    *,
    files: Mapping[str, str] | None = None,
    image: str | None = None,
    spark: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Run a command to its end.

    Args:
        namespace: Where the CronJob is.
        name: How the Job's name begins.
        command: What its pod runs.
        files: What it finds below FOLDER.
        image: Another image than the CronJob's.
        spark: Whether it needs Spark, which another image beside that one has.
        say: Is told each line of the log.

    Returns:
        The command's exit code.

    Raises:
        UserError: The cluster cannot be reached or refuses, or the pod cannot start or was killed.
    """
    api = connect()
    with errors():
        job = _create(api, namespace, _job(api, namespace, f"{name}-{secrets.token_hex(3)}", command, bool(files), image, spark), files or {})
        follower = Follower(api, namespace, job.metadata.name, say)
        with terminable():
            try:
                return follower.outcome()
            except BaseException:
                _stop(api, job, follower)
                raise
            finally:
                _delete_files(api, job)


def _job(api: ApiClient, namespace: str, name: str, command: list[str], with_files: bool, image: str | None, spark: bool) -> V1Job:
    """Make the Job of the CronJob's template: command, image and files are its own."""
    template = _template(api, namespace).spec.job_template
    pod = template.spec.template.spec
    container = next((each for each in pod.containers if each.name == TEMPLATE), None)
    if container is None:
        raise UserError(f"the CronJob {TEMPLATE} in namespace {namespace} has no container {TEMPLATE}: apply k8s/overlays/... again")
    container.command, container.args, container.image = command, None, image or container.image
    _name(container, "IMAGE", container.image)
    if spark:
        _enlarge(template.spec.template, container)
    if with_files:
        mount = client.V1VolumeMount(name="files", mount_path=FOLDER, read_only=True)
        container.volume_mounts = [*(container.volume_mounts or []), mount]
        pod.volumes = [*(pod.volumes or []), client.V1Volume(name="files", config_map=client.V1ConfigMapVolumeSource(name=name))]
    labels = template.metadata.labels if template.metadata else None
    return V1Job(metadata=V1ObjectMeta(name=name, namespace=namespace, labels=labels), spec=template.spec)


def _template(api: ApiClient, namespace: str) -> V1CronJob:
    try:
        return client.BatchV1Api(api).read_namespaced_cron_job(TEMPLATE, namespace)
    except ApiException as error:
        if error.status == 404:
            cure = "bring the platform up there (kubectl apply -k k8s/overlays/local), or name another namespace (--namespace)"
            raise UserError(f"namespace {namespace} has no CronJob {TEMPLATE}: {cure}") from error
        raise


def _name(container: V1Container, variable: str, image: str) -> None:
    """Tell the command an image: its own, by which a registered version is served later, or the one of Spark's executors."""
    others = [each for each in container.env or [] if each.name != variable]
    container.env = [*others, client.V1EnvVar(name=variable, value=image)]


def _enlarge(pod: V1PodTemplateSpec, container: V1Container) -> None:
    """Run the command in the image with Spark, and let Spark's executors reach it."""
    container.image = with_spark(container.image)
    _name(container, "SPARK_IMAGE", container.image)
    pod.metadata = pod.metadata or V1ObjectMeta()
    pod.metadata.labels = (pod.metadata.labels or {}) | DRIVER


def _create(api: ApiClient, namespace: str, job: V1Job, files: Mapping[str, str]) -> V1Job:
    """Create the Job, then its files: they belong to it and go with it; its pod waits for them."""
    made = client.BatchV1Api(api).create_namespaced_job(namespace, job)
    if files:
        owner = client.V1OwnerReference(api_version="batch/v1", kind="Job", name=made.metadata.name, uid=made.metadata.uid)
        metadata = V1ObjectMeta(name=made.metadata.name, labels=made.metadata.labels, owner_references=[owner])
        try:
            client.CoreV1Api(api).create_namespaced_config_map(namespace, V1ConfigMap(metadata=metadata, data=dict(files)))
        except BaseException:
            _delete(api, made)
            raise
    return made


def _stop(api: ApiClient, job: V1Job, follower: Follower) -> None:
    """Delete the Job; its pod takes back what it has begun, and may say so."""
    _delete(api, job)
    follower.drain()


def _delete(api: ApiClient, job: V1Job) -> None:
    with suppress(ApiException, HTTPError):
        client.BatchV1Api(api).delete_namespaced_job(job.metadata.name, job.metadata.namespace, propagation_policy="Background")


def _delete_files(api: ApiClient, job: V1Job) -> None:
    if any(volume.name == "files" for volume in job.spec.template.spec.volumes or []):
        with suppress(ApiException, HTTPError):
            client.CoreV1Api(api).delete_namespaced_config_map(job.metadata.name, job.metadata.namespace)
