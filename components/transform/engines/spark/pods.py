"""Spark on Kubernetes: the driver is in the step's pod, the executors are pods of their own, and the tables lie on S3, which all of them reach."""

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from minio.deleteobjects import DeleteObject

from core import cluster, s3_connection, storage, transfer
from core.calls import Pinned, pinned
from core.config import Spark
from core.errors import UserError
from core.pod_template import merged, pod_template

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TEMPLATE = Path(__file__).with_name("executor.yaml")
SCRATCH = "spark"  # below the bucket of the pipelines, which removes it after a day if we cannot
DRIVER_PORT, BLOCKS_PORT = 7078, 7079  # which the NetworkPolicies of k8s/components/spark let through
EXECUTOR_ACCOUNT = "spark-executor"  # of k8s/components/spark
PATIENCE = 300.0  # seconds until an executor must be there: a node may have to be made for it
CREDENTIALS = "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"


def settings(spark: Spark) -> dict[str, str]:
    """Return what Spark must know to run its executors as pods.

    Raises:
        UserError: This is no pod of a cluster.
    """
    image = os.environ.get("SPARK_IMAGE")
    if not image or not ACCOUNT.is_dir():
        raise UserError("spark.master is k8s, which needs a cluster: submit the run, or run it here by --set 'spark.master=local[2]'")
    address = socket.gethostbyname(socket.gethostname())
    return _storage() | {
        "spark.master": f"k8s://https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}",
        "spark.driver.host": address,
        "spark.driver.bindAddress": address,
        "spark.driver.port": str(DRIVER_PORT),
        "spark.blockManager.port": str(BLOCKS_PORT),
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.executor.instances": str(spark.executors),
        "spark.executor.cores": str(spark.cores),
        "spark.executor.memory": spark.heap,
        "spark.executor.extraJavaOptions": "-Duser.timezone=UTC",
        "spark.sql.shuffle.partitions": str(2 * spark.executors * spark.cores),
        "spark.scheduler.minRegisteredResourcesRatio": "0",  # `wait` does, and sees why none comes
        "spark.kubernetes.namespace": _namespace(),
        "spark.kubernetes.authenticate.caCertFile": str(ACCOUNT / "ca.crt"),
        "spark.kubernetes.authenticate.oauthTokenFile": str(ACCOUNT / "token"),
        "spark.kubernetes.authenticate.executor.serviceAccountName": EXECUTOR_ACCOUNT,
        "spark.kubernetes.container.image": image,
        "spark.kubernetes.driver.pod.name": os.environ.get("KFP_POD_NAME") or socket.gethostname(),  # the executors belong to it and go with it
        "spark.kubernetes.executor.limit.cores": str(spark.cores),
        "spark.kubernetes.executor.request.cores": "250m",
        "spark.kubernetes.executor.podTemplateFile": executor_template(),
        "spark.kubernetes.executor.podTemplateContainerName": "executor",
        "spark.kubernetes.executor.disableConfigMap": "true",  # it needs pods and nothing else
        "spark.kubernetes.driver.service.deleteOnTermination": "false",
        "spark.kubernetes.driver.ownPersistentVolumeClaim": "false",
        "spark.kubernetes.driver.reusePersistentVolumeClaim": "false",
    }


@contextmanager
def on_s3(raw: dict[str, Path], target: Path, uri: str) -> Iterator[tuple[dict[str, str], str]]:
    """Give the addresses of the raw tables, and one for the table to be made, which is brought here when the block has succeeded.

    Args:
        raw: The Parquet file of each table.
        target: The folder for the files of the one to be made.
        uri: Where on S3 the folder of the raw files lies, too; if it does not, they are put there for as long as the block takes.
    """
    bucket, scratch = storage.split(f"{storage.root('pipelines')}/{SCRATCH}/{secrets.token_hex(8)}")
    place = f"s3://{bucket}/{scratch}"
    try:
        if not uri.startswith("s3://"):
            uri = f"{place}/raw"
            with storage.errors(place):
                transfer.put(bucket, {f"{scratch}/raw/{name}.parquet": path for name, path in raw.items()})
        folder = uri.partition("?")[0].replace("s3://", "s3a://", 1)
        yield {name: f"{folder}/{name}.parquet" for name in raw}, f"s3a://{bucket}/{scratch}/made"
        target.mkdir()
        with storage.errors(place):
            transfer.get(bucket, {target / Path(item.key).name: item for item in _files(bucket, f"{scratch}/made/")})
    finally:
        with storage.errors(place):
            _remove(bucket, f"{scratch}/")


def wait(session: "SparkSession") -> None:
    """Wait until an executor is there: Spark itself would wait without end, and not say why.

    Raises:
        UserError: None comes, with the reason that Kubernetes gives.
    """
    context, deadline = session.sparkContext, time.monotonic() + PATIENCE
    while context._jsc.sc().getExecutorMemoryStatus().size() < 2:  # the driver is one
        reason = _reason(context.applicationId)
        if reason.startswith(cluster.NO_IMAGE) or time.monotonic() > deadline:
            raise UserError(f"Spark gets no executor on the cluster ({reason}): put that right, then run again")
        time.sleep(0.5)


def _reason(application: str) -> str:
    """Say what the executors' pods wait for."""
    found = cluster.find("Pod", _namespace(), {"spark-app-selector": application})
    for pod in found:
        status = pod.get("status", {})
        waiting = [each["state"]["waiting"] for each in status.get("containerStatuses", []) if "waiting" in each.get("state", {})]
        for each in waiting:
            return f"{each.get('reason')}: {pod['spec']['containers'][0]['image']}"
        for condition in status.get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message"))
    return "its pods run, but do not report" if found else "no pod was made: the namespace's quota or Pod Security may refuse it"


def executor_template() -> str:
    """Write the executors' pod with what the overlay sets in all pods; Spark reads the file when it starts."""
    pod = merged(yaml.safe_load(TEMPLATE.read_text()), pod_template())
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        yaml.safe_dump(pod, file)
    return file.name


def _namespace() -> str:
    return (ACCOUNT / "namespace").read_text()


def _storage() -> dict[str, str]:
    """Return how executors and driver reach S3; both have the credentials in their environment, and nowhere else."""
    endpoint = s3_connection.endpoint()
    return {
        "spark.hadoop.fs.s3a.endpoint": endpoint.geturl(),
        "spark.hadoop.fs.s3a.endpoint.region": s3_connection.region(),
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": str(endpoint.scheme == "https").lower(),
        "spark.hadoop.fs.s3a.aws.credentials.provider": CREDENTIALS,
    }


def _files(bucket: str, prefix: str) -> Iterator[Pinned]:
    found = map(pinned, storage.client().list_objects(bucket, prefix, recursive=True))
    return (item for item in found if item.key.endswith(".parquet"))


def _remove(bucket: str, prefix: str) -> None:
    client = storage.client()
    names = [DeleteObject(item.object_name) for item in client.list_objects(bucket, prefix, recursive=True) if item.object_name]
    for _ in client.remove_objects(bucket, names):
        pass  # what stays is removed by the bucket
