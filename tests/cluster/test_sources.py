"""A run inside the cluster over a database that is not the platform's: by the option `sources` and the Secret `mlops-sources` alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from core.featurecode import FOLDER
from tests.cluster.conftest import clear
from tests.cluster.overlay import PIPELINE
from tests.cluster.rig import ROOT, Cluster, Object
from tests.cluster.test_end_to_end import submit

pytestmark = pytest.mark.alone  # a run of the use case that other tests run, too

SPACE, SERVER = "mlops-test-data", "patients"
PASSWORD = "not-in-any-log"
LOAD = "load=[{what: predictions, to: {kind: postgresql, table: answers, mode: merge, key: [id]}}]"
TABLE = """
CREATE TABLE patients (id serial PRIMARY KEY, {columns});
COPY patients ({names}) FROM STDIN WITH (FORMAT csv, HEADER true);
"""


@pytest.fixture
def server(node: Cluster) -> Iterator[Cluster]:
    """A PostgreSQL in a namespace that is none of ours, with the patients of diabetes; the steps have its address and password."""
    option = list(yaml.safe_load_all((ROOT / "k8s/components/sources/networkpolicy.yaml").read_text()))
    variables = {"PGHOST": f"{SERVER}.{SPACE}.svc.cluster.local", "PGUSER": "postgres", "PGPASSWORD": PASSWORD, "PGDATABASE": "postgres"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mlops-sources", "namespace": PIPELINE}, "stringData": variables}
    node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, _pod(), _service(), secret, *option)
    node.kubectl("wait", "--for=condition=Ready", f"pod/{SERVER}", "-n", SPACE, "--timeout=120s")
    text = (FOLDER / "diabetes" / "diabetes.csv").read_text()
    names = text.partition("\n")[0].split(",")
    columns = ", ".join(f"{name} {'text' if name == 'sex' else 'double precision'}" for name in names)
    begin, copy = (line for line in TABLE.format(columns=columns, names=", ".join(names)).splitlines() if line)
    assert _psql(node, begin) == "CREATE TABLE"
    assert _psql(node, copy, text) == "COPY 442"
    yield node
    node.delete("secret", PIPELINE, "mlops-sources")
    node.delete("networkpolicy", PIPELINE, "sources")
    node.kubectl("delete", "namespace", SPACE, "--wait=false")
    clear(node, "diabetes")


def _pod() -> Object:
    probe = {"exec": {"command": ["psql", "-U", "postgres", "-h", "127.0.0.1", "-c", "SELECT 1"]}, "periodSeconds": 1}
    variables = {"POSTGRES_PASSWORD": PASSWORD, "PGPASSWORD": PASSWORD, "PGDATA": "/data/server"}
    container = {
        "name": "postgres",
        "image": "localhost/postgres:local",
        "imagePullPolicy": "Never",
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "readinessProbe": probe,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "socket", "mountPath": "/var/run/postgresql"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": SERVER, "namespace": SPACE, "labels": {"run": SERVER}},
        "spec": {
            "containers": [container],
            "volumes": [{"name": name, "emptyDir": {}} for name in ("data", "socket")],
            "terminationGracePeriodSeconds": 1,
        },
    }


def _service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVER, "namespace": SPACE},
        "spec": {"selector": {"run": SERVER}, "ports": [{"port": 5432}]},
    }


def _psql(cluster: Cluster, statement: str, stdin: str | None = None) -> str:
    ended = cluster.exec(SPACE, SERVER, "psql", "-U", "postgres", "-h", "127.0.0.1", "-tAc", statement, stdin=stdin)
    assert ended.code == 0, ended.err
    return ended.out.strip()


def test_a_run_reads_a_table_and_loads_predictions_beside_it(server: Cluster) -> None:
    said = submit(
        server,
        "diabetes",
        "train.max_trials=2",
        "sources.patients=postgresql:///patients",
        "contract.patients.columns.id={type: integer}",
        LOAD,
    )

    assert "442 patients" in said
    assert PASSWORD not in said
    assert int(_psql(server, "SELECT count(*) FROM answers")) > 0
    assert _psql(server, "SELECT count(DISTINCT model_version) FROM answers") == "1"
