import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3
from minio import Minio
from minio.error import S3Error

from core import processes
from core.errors import UserError
from core.processes import Process
from core.storage import BUCKETS
from local import mlflow_server, ports, s3, state
from local.environment import enter, environment
from local.platform import Platform, down, status, up
from tests import disks
from tests.conftest import kill_servers

UP = "from local.platform import up; p = up(wait=False); print(p.s3.pid, p.mlflow.pid)"


def connect(platform: Platform, secret_key: str | None = None) -> Minio:
    return Minio(
        endpoint=f"127.0.0.1:{platform.s3_port}",
        access_key=platform.access_key,
        secret_key=secret_key or platform.secret_key,
        region="us-east-1",
        secure=False,
        http_client=urllib3.PoolManager(timeout=30, retries=False),
    )


def put(platform: Platform, name: str, data: bytes) -> None:
    connect(platform).put_object("data", name, io.BytesIO(data), len(data))


def get(platform: Platform, bucket: str, name: str) -> bytes:
    return connect(platform).get_object(bucket, name).read()


def names(platform: Platform, bucket: str) -> list[str | None]:
    return [found.object_name for found in connect(platform).list_objects(bucket, recursive=True)]


def call(platform: Platform, method: str, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(f"{platform.mlflow_address}/api/2.0/{path}", data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


def copies(home: Path) -> list[int]:
    """Pids of the servers of this folder, whoever started them."""
    return sorted(each.pid for mark in (s3.mark(home / "s3"), mlflow_server.mark(home / "mlflow")) for each in processes.find(mark))


def kill(process: Process | None) -> None:
    assert process
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while processes.alive(process) and time.monotonic() < deadline:
        time.sleep(0.02)


def pids(platform: Platform) -> list[int]:
    assert platform.s3
    assert platform.mlflow
    return sorted([platform.s3.pid, platform.mlflow.pid])


# What the platform offers


def test_all_buckets_are_there(platform: Platform) -> None:
    buckets = {bucket.name for bucket in connect(platform).list_buckets()}

    assert buckets == {"data", "pipelines", "mlflow", "models", "predictions"}


@pytest.mark.parametrize("size", [pytest.param(5, id="whole"), pytest.param(12 * 1024 * 1024, id="in parts")])
def test_an_object_is_put_listed_and_read_back(platform: Platform, size: int) -> None:
    data = os.urandom(size)

    connect(platform).put_object("data", f"platform/{size}", io.BytesIO(data), size, part_size=5 * 1024 * 1024)

    assert f"platform/{size}" in names(platform, "data")
    assert get(platform, "data", f"platform/{size}") == data


def test_a_wrong_secret_key_is_refused(platform: Platform) -> None:
    with pytest.raises(S3Error) as error:
        list(connect(platform, secret_key="guessed").list_buckets())

    assert error.value.code == "SignatureDoesNotMatch"


def test_a_missing_bucket_is_not_created_by_a_put(platform: Platform) -> None:
    with pytest.raises(S3Error) as error:
        connect(platform).put_object("misspelt", "a", io.BytesIO(b"a"), 1)

    assert error.value.code == "NoSuchBucket"


def test_an_artifact_sent_to_mlflow_lands_in_the_mlflow_bucket(platform: Platform) -> None:
    call(platform, "PUT", "mlflow-artifacts/artifacts/0/some-run/artifacts/report.html", b"<p>report</p>")

    assert get(platform, "mlflow", "0/some-run/artifacts/report.html") == b"<p>report</p>"


def test_the_servers_listen_on_the_loopback_interface_alone(platform: Platform) -> None:
    servers = [psutil.Process(pid) for pid in pids(platform)]
    family = [member for server in servers for member in (server, *server.children(recursive=True))]

    addresses = {each.laddr.ip for member in family for each in member.net_connections("tcp") if each.status == psutil.CONN_LISTEN}

    assert addresses == {"127.0.0.1"}


def test_mlflow_refuses_the_name_of_another_host(platform: Platform) -> None:
    request = urllib.request.Request(f"{platform.mlflow_address}/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"Host": "example.com"})

    with pytest.raises(urllib.request.HTTPError) as error:
        urllib.request.urlopen(request, timeout=30)

    assert error.value.code == 403


def test_a_local_run_means_the_platform_and_no_server_of_the_users(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_TOKEN", "_MLFLOW_X")
    for variable in (*foreign, "AWS_ENDPOINT_URL_S3", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(variable, "elsewhere")
    monkeypatch.setenv("PGHOST", "of a source")

    enter(platform)

    assert not set(foreign) & os.environ.keys()
    assert os.environ["AWS_ENDPOINT_URL_S3"] == platform.s3_address
    assert os.environ["MLFLOW_TRACKING_URI"] == platform.mlflow_address
    assert Path(os.environ["MLOPS_HOME"]).is_absolute()
    assert os.environ["PGHOST"] == "of a source"


@pytest.mark.parametrize(
    ("exempt", "merged"),
    [
        pytest.param("", "127.0.0.1,localhost", id="none"),
        pytest.param("intranet", "intranet,127.0.0.1,localhost", id="some"),
        pytest.param("*", "*", id="all"),
    ],
)
def test_no_proxy_is_asked_for_the_platform(platform: Platform, monkeypatch: pytest.MonkeyPatch, exempt: str, merged: str) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("no_proxy", exempt)

    variables = environment(platform)

    assert variables["no_proxy"] == variables["NO_PROXY"] == merged


def test_a_second_start_finds_the_running_servers(platform: Platform) -> None:
    assert up() == platform
    assert [server.state for server in status() if server.name in ("s3", "mlflow")] == ["up", "up"]  # beside other tests' model servers


# Starts, ends, and what may come between


def test_two_starts_at_once_give_one_copy(home: Path) -> None:
    starts = [subprocess.Popen([sys.executable, "-c", UP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]

    answers = [start.communicate(timeout=60) for start in starts]

    assert [sorted(map(int, output.split())) for output, _ in answers] == [copies(home)] * 3
    assert [warnings for _, warnings in answers] == [""] * 3


def test_credentials_are_kept_for_a_checkout_and_in_no_command_line(home: Path) -> None:
    first = up(wait=False)
    down()
    second = up(wait=False)

    assert (first.access_key, first.secret_key) == (second.access_key, second.secret_key)
    assert first.secret_key != Platform().secret_key
    assert not any(first.secret_key in argument for pid in pids(second) for argument in psutil.Process(pid).cmdline())


def test_another_user_of_the_machine_reads_nothing_and_is_no_administrator(home: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        running = up(wait=False)
    finally:
        os.umask(before)
    put(running, "secret", b"object")
    call_of_a_stranger = f"fs.ls /buckets\ns3.configure -user=x -access_key=x -secret_key={'x' * 16} -actions=Admin -apply\nexit\n"
    ports = (f"-master=127.0.0.1:{running.s3_port + 1}", f"-filer=127.0.0.1:{running.s3_port + 3}")
    program = str(Path(sys.executable).parent / "weed")

    with suppress(subprocess.TimeoutExpired):
        subprocess.run([program, "shell", *ports], input=call_of_a_stranger, cwd=tmp_path, timeout=5, text=True)

    with pytest.raises(S3Error, match="InvalidAccessKeyId"):
        list(connect(replace(running, access_key="x", secret_key="x" * 16)).list_buckets())
    assert {refused(f"http://127.0.0.1:{running.s3_port + offset}/buckets/data/secret") for offset in (1, 2, 3)} == {401, 404}
    assert [path for path in (home, *home.iterdir()) if path.is_dir() and path.stat().st_mode & 0o077] == []
    assert stat.S_IMODE((home / "platform.json").stat().st_mode) == 0o600
    assert running.s3
    sockets = [str(each.laddr) for each in psutil.Process(running.s3.pid).net_connections("unix") if each.laddr]
    assert [path for path in sockets if Path(path).stat().st_mode & 0o077] == []


def refused(address: str) -> int:
    with pytest.raises(urllib.request.HTTPError) as error:
        urllib.request.urlopen(address, timeout=30)
    return error.value.code


def test_an_owners_weed_shell_reaches_the_server_from_its_folder(home: Path) -> None:
    running = up(wait=False)
    ports = (f"-master=127.0.0.1:{running.s3_port + 1}", f"-filer=127.0.0.1:{running.s3_port + 3}")
    command = [str(Path(sys.executable).parent / "weed"), "shell", *ports]

    answer = subprocess.run(command, input="fs.ls /buckets\nexit\n", cwd=home / "s3", capture_output=True, timeout=30, text=True)

    assert "pipelines" in answer.stdout


def test_a_folder_that_was_named_and_was_there_keeps_its_mode(home: Path) -> None:
    home.mkdir(mode=0o755)
    home.chmod(0o755)

    up(wait=False)

    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert {stat.S_IMODE((home / name).stat().st_mode) for name in ("s3", "mlflow", "logs")} == {0o700}


def test_down_ends_all_servers_those_of_models_too_and_may_be_repeated(home: Path) -> None:
    running = up(wait=False)
    model = processes.start("flights", [sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), home / "logs" / "flights.log")
    record = home / "serving" / "flights.json"
    record.parent.mkdir()
    record.write_text(
        json.dumps({"usecase": "flights", "version": "3", "uri": "s3://models/a", "digest": "sha256:0", "port": 1, "process": asdict(model)})
    )

    before, ended, again, after = status(), down(), down(), status()

    assert [(server.name, server.pid) for server in before][2:] == [("serving/flights", model.pid)]
    assert ended == ["serving/flights", "mlflow", "s3"]
    assert again == []
    assert [(server.state, server.pid) for server in after] == [("down", None)] * 3
    assert not any(map(psutil.pid_exists, [*pids(running), model.pid]))
    assert record.exists()


def test_the_status_of_a_platform_that_was_never_started_is_down(home: Path) -> None:
    assert [(server.name, server.state) for server in status()] == [("s3", "down"), ("mlflow", "down")]
    assert down() == []
    assert not home.exists()


@pytest.mark.slow
def test_killed_servers_are_started_again_and_the_data_is_there(home: Path) -> None:
    first = up()
    put(first, "kept", b"object")
    call(first, "POST", "mlflow/experiments/create", {"name": "kept"})
    kill(first.s3)
    kill(first.mlflow)  # its worker lives on, on the port

    second = up()

    assert not set(pids(first)) & set(pids(second))
    assert (first.s3_port, first.mlflow_port) == (second.s3_port, second.mlflow_port)
    assert get(second, "data", "kept") == b"object"
    assert call(second, "GET", "mlflow/experiments/get-by-name?experiment_name=kept")["experiment"]["name"] == "kept"
    assert copies(home) == pids(second)


def test_the_other_server_goes_on_when_one_is_killed(home: Path) -> None:
    first = up(wait=False)
    kill(first.s3)

    second = up(wait=False)

    assert second.s3 != first.s3
    assert second.mlflow == first.mlflow


@pytest.mark.slow
def test_servers_that_nobody_remembers_are_replaced(home: Path) -> None:
    first = up(wait=False)
    put(first, "kept", b"object")
    state.save(replace(first, s3=None, mlflow=None))

    second = up(wait=False)

    assert copies(home) == pids(second)
    assert not any(map(psutil.pid_exists, pids(first)))
    assert get(second, "data", "kept") == b"object"


def test_a_pid_that_now_belongs_to_another_program_is_left_alone(home: Path) -> None:
    innocent = processes.start("innocent", [sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), home / "logs" / "innocent.log")
    stale = replace(innocent, created=innocent.created - 3600)
    state.save(replace(Platform(), s3=stale, mlflow=stale))

    running = up(wait=False)
    down()

    assert innocent.pid not in pids(running)
    assert processes.alive(innocent)
    processes.stop(innocent)


def test_a_start_after_an_interrupted_one_completes_it(home: Path) -> None:
    start = subprocess.Popen([sys.executable, "-c", UP], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (home / "logs" / "s3.log").exists():
        time.sleep(0.005)
    start.kill()
    start.wait()

    running = up(wait=False)

    assert copies(home) == pids(running)
    assert names(running, "data") == []


# Faults


@pytest.mark.slow
def test_a_remembered_port_that_someone_took_is_replaced_for_both_servers(home: Path) -> None:
    first = up(wait=False)
    put(first, "kept", b"object")
    kill(first.s3)

    with socket.create_server(("127.0.0.1", first.s3_port)):
        second = up()
    call(second, "PUT", "mlflow-artifacts/artifacts/0/r/artifacts/a", b"a")

    assert first.s3_port != second.s3_port == state.load().s3_port
    assert get(second, "data", "kept") == b"object"
    assert get(second, "mlflow", "0/r/artifacts/a") == b"a"
    assert copies(home) == pids(second)


@pytest.mark.parametrize(
    ("variable", "distance"),
    [
        pytest.param("MLOPS_S3_PORT", 0, id="S3"),
        pytest.param("MLOPS_S3_PORT", 10_000, id="gRPC of S3"),
        pytest.param("MLOPS_MLFLOW_PORT", 0, id="MLflow"),
    ],
)
def test_a_fixed_port_that_is_taken_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, distance: int) -> None:
    port = free_s3_port()
    monkeypatch.setenv(variable, str(port))

    with socket.create_server(("127.0.0.1", port + distance)), pytest.raises(UserError) as error:
        up(wait=False)

    assert str(error.value).startswith(f"port {port + distance} is taken by another program: ")
    assert variable in str(error.value)


def free_s3_port() -> int:
    return ports.choose("UNSET", 0, s3.ports)


def test_a_chosen_port_is_none_that_outgoing_connections_get() -> None:
    chosen = [ports.choose("UNSET", 0, s3.ports) for _ in range(30)]

    assert max(max(s3.ports(port)) for port in chosen) < 32_000


def test_a_fixed_port_is_used_also_when_the_server_ran_on_another(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up(wait=False)
    monkeypatch.setenv("MLOPS_S3_PORT", str(free_s3_port()))

    running = up(wait=False)

    assert os.environ["MLOPS_S3_PORT"] == str(running.s3_port)
    assert copies(home) == pids(running)
    assert names(running, "data") == []


@pytest.mark.parametrize("text", ["http", "0", "70000", "-1"])
def test_a_fixed_port_that_is_no_port_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MLOPS_S3_PORT", text)

    with pytest.raises(UserError, match=f"MLOPS_S3_PORT={text} is not a port"):
        up(wait=False)


def test_a_server_that_dies_at_its_start_says_why(home: Path) -> None:
    (home / "s3").mkdir(parents=True)
    (home / "s3" / "filerldb2").write_text("not a folder")

    with pytest.raises(UserError) as error:
        up()

    assert str(error.value).startswith("the S3 server ended while it started: ")
    assert "filerldb2" in str(error.value)


def test_a_missing_s3_server_is_named_with_the_cure(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))

    with pytest.raises(UserError) as error:
        up(wait=False)

    assert str(error.value).startswith(f"the S3 server {tmp_path}/bin/weed is missing: ")


def test_a_folder_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "file" / "home"))

    with pytest.raises(UserError) as error:
        up()

    assert str(error.value).startswith(f"{tmp_path}/file/home cannot be written (Not a directory): ")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"access_key": ', id="cut off"),
        pytest.param('{"s3_port": "x", "s3": null}', id="port of another type"),
        pytest.param('{"mlflow": {"name": "mlflow", "pid": [], "created": 1.5, "log": ""}}', id="process of another type"),
        pytest.param("[]", id="list"),
    ],
)
def test_a_damaged_memory_is_named(home: Path, text: str) -> None:
    home.mkdir()
    (home / "platform.json").write_text(text)

    with pytest.raises(UserError) as error:
        up()
    (home / "platform.json").unlink()

    assert str(error.value).startswith(f"{home}/platform.json is damaged: ")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 300 MB, on which the platform's folder lies."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not disks.mount(folder, megabytes=300):
        pytest.skip("only root on Linux can mount a small disk")
    monkeypatch.setenv("MLOPS_HOME", str(folder / "home"))
    yield folder
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    kill_servers(folder / "home")
    down()
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    filler = disk / "filler"
    filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - leave))
    return filler


@pytest.mark.parametrize("leave", [pytest.param(150_000_000, id="nearly full"), pytest.param(0, id="full")])
def test_a_start_on_a_full_disk_is_refused(disk: Path, leave: int) -> None:
    fill(disk, leave + 500_000 * (leave > 0))

    with pytest.raises(UserError) as error:
        up()

    assert str(error.value).startswith(f"the disk of {disk}/home is full ({leave // 1_000_000} MB free, at least 200 MB needed): ")
    assert copies(disk / "home") == []


def test_a_disk_that_fills_up_costs_the_objects_that_do_not_fit_and_no_other(disk: Path) -> None:
    running = up(wait=False)
    put(running, "first", os.urandom(1_000_000))
    filler = fill(disk, 2_000_000)

    with pytest.raises(S3Error, match="InternalError"):
        put(running, "too big", os.urandom(20_000_000))
    filler.unlink()
    put(running, "later", os.urandom(20_000_000))

    assert names(running, "data") == ["first", "later"]
    assert len(get(running, "data", "first")) == 1_000_000
    assert len(get(running, "data", "later")) == 20_000_000


def test_every_bucket_gets_room_on_a_small_disk(disk: Path) -> None:
    fill(disk, 220_000_000)

    running = up(wait=False)

    for bucket in BUCKETS:
        connect(running).put_object(bucket, "a", io.BytesIO(b"a"), 1)


def test_a_folder_on_a_read_only_disk_is_named(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    with pytest.raises(UserError) as error:
        up()

    assert str(error.value).startswith(f"{disk}/home cannot be written (Read-only file system): ")


def test_the_shells_settings_for_other_programs_do_not_reach_our_servers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {"AWS_SESSION_TOKEN", "AWS_PROFILE", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_TRACKING_URI", "HTTP_PROXY", "all_proxy", "UVICORN_PORT"}
    for variable in foreign:
        monkeypatch.setenv(variable, "elsewhere")

    running = up(wait=False)

    assert [foreign & psutil.Process(pid).environ().keys() for pid in pids(running)] == [set(), set()]


def test_mlflow_may_be_shown_under_the_name_of_another_host(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "hub.example.com")

    command = mlflow_server.command(1, home)

    assert command[command.index("--allowed-hosts") + 1] == "localhost:*,127.0.0.1:*,hub.example.com"
