"""The process of an executor's pod: `python -m components.transform.engines.spark.executor`. Spark says by the environment what it is to run."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

MAIN = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
OPTION = "SPARK_JAVA_OPT_"
ARGUMENTS = {
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}


def command(environment: Mapping[str, str], jars: Path) -> list[str]:
    """Return the command line of the JVM, as Spark's own image has it (entrypoint.sh).

    Args:
        environment: As Spark sets it in the pod.
        jars: The folder of Spark's jars.
    """
    options = [
        environment[key] for key in sorted((key for key in environment if key.startswith(OPTION)), key=lambda key: int(key.removeprefix(OPTION)))
    ]
    memory = environment["SPARK_EXECUTOR_MEMORY"]
    arguments = [part for name, variable in ARGUMENTS.items() for part in (name, environment[variable])]
    return ["java", *options, f"-Xms{memory}", f"-Xmx{memory}", "-cp", f"{jars}/*", MAIN, *arguments]


if __name__ == "__main__":
    spark, java = importlib.util.find_spec("pyspark"), shutil.which("java")
    if not spark or not spark.origin or not java:
        sys.exit("error: this image has no Spark: build the target `spark` of the Dockerfile (make image SPARK=1)")
    os.execv(java, command(os.environ, Path(spark.origin).with_name("jars")))  # noqa: S606
