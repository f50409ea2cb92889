"""The commands that start something in a cluster, and those of an operator: their mistakes, each in one sentence."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

MLOPS = Path(sys.executable).parent / "mlops"


def mlops(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("MLOPS_NAMESPACE", "KUBECONFIG", "IMAGE")}
    return subprocess.run([MLOPS, *arguments], env=inherited | environment, capture_output=True, text=True, check=False)


def kubeconfig(path: Path, server: str) -> str:
    named = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "none"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "x", **named}))
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("submit", "wine", "--job"), id="submit"),
        pytest.param(("deploy", "wine", "3", "--namespace", "mlops"), id="deploy"),
        pytest.param(("rollback", "wine", "--namespace", "mlops"), id="rollback"),
        pytest.param(("history", "wine", "--namespace", "mlops"), id="history"),
        pytest.param(("status", "wine", "--namespace", "mlops"), id="status"),
    ],
)
def test_without_a_kubeconfig_a_command_for_a_cluster_says_what_to_set(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = mlops(*arguments, KUBECONFIG=str(tmp_path / "none"), MLOPS_HOME=str(tmp_path / "home"))

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: no cluster is named (")
    assert refused.stderr.endswith("): set KUBECONFIG to a file that kubectl can use\n")
    assert not (tmp_path / "home").exists()


def test_a_cluster_that_does_not_answer_is_told_at_once_with_its_address(tmp_path: Path) -> None:
    start = time.monotonic()

    refused = mlops("status", "wine", "--namespace", "mlops", KUBECONFIG=kubeconfig(tmp_path / "config", "http://127.0.0.1:9"))

    assert refused.returncode == 1
    assert refused.stderr == (
        "error: the cluster at http://127.0.0.1:9 does not answer: look whether it is up, or choose another context (kubectl config use-context)\n"
    )
    assert time.monotonic() - start < 30


def test_a_wrong_config_is_told_before_the_cluster_is_asked(tmp_path: Path) -> None:
    refused = mlops("submit", "wine", "--job", "--set", "train.max_trials=0", KUBECONFIG=str(tmp_path / "none"))

    assert refused.stderr.startswith("error: --set train.max_trials=0: ")


@pytest.mark.parametrize("arguments", [pytest.param((), id="neither"), pytest.param(("3", "--resume"), id="both")])
def test_deploy_wants_a_version_or_resume(arguments: tuple[str, ...]) -> None:
    refused = mlops("deploy", "wine", *arguments)

    assert refused.returncode == 1
    assert refused.stderr == "error: name the version that is to serve, or --resume: `mlops deploy wine 3` or `mlops deploy wine --resume`\n"


def test_the_state_of_a_namespace_is_asked_for_by_use_case() -> None:
    refused = mlops("status", MLOPS_NAMESPACE="team-a")

    assert refused.returncode == 1
    assert refused.stderr == ("error: name the use case whose state in namespace team-a you want: `mlops status flights --namespace team-a`\n")


def test_the_status_of_a_machine_on_which_nothing_was_started_starts_nothing(tmp_path: Path) -> None:
    shown = mlops("status", MLOPS_HOME=str(tmp_path / "home"))

    assert (shown.returncode, shown.stderr) == (0, "")
    assert [line.split()[:2] for line in shown.stdout.splitlines()] == [["s3", "down"], ["mlflow", "down"]]


def test_packages_of_a_foreign_folder_are_not_imported(tmp_path: Path) -> None:
    for name in ("core", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('foreign')")

    shown = mlops("schema", PYTHONPATH=f"{tmp_path}")

    assert (shown.returncode, shown.stderr) == (0, "")


def test_secrets_are_made_once_and_overwritten_only_to_rotate_them(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    made = mlops("secrets", str(path))
    before = path.read_bytes()

    again = mlops("secrets", str(path))

    assert (made.returncode, again.returncode) == (0, 1)
    assert again.stderr.startswith("error: ")
    assert path.read_bytes() == before
    assert mlops("secrets", str(path), "--rotate").stdout.endswith(f" new passwords in {path}: `make apply` brings them into the cluster\n")
    assert path.read_bytes() != before


def test_a_contract_is_proposed_from_the_data_alone_as_yaml() -> None:
    shown = mlops("contract", "wine")

    found = yaml.safe_load(shown.stdout)
    assert (shown.returncode, shown.stderr) == (0, "reading wine\n")
    assert list(found)[-2:] == ["contract", "features"]
    assert found["contract"]["wine"]["columns"]["hue"] == {"type": "number", "min": 0, "max": 2}
    assert found["contract"]["wine"]["columns"]["cultivar"] == {"type": "string", "values": ["barbera", "barolo", "grignolino"]}


def test_a_contract_for_no_use_case_says_which_there_are() -> None:
    refused = mlops("contract", "beer")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "error: there is no use case beer: choose one of diabetes, flights, wine, or add usecases/beer/config.yaml\n"
