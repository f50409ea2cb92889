import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from core import processes
from core.errors import UserError
from core.processes import Process

SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); " + SLEEP
SLOW_TO_END = """
import signal, sys, time
def end(*_):
    time.sleep(0.3)
    print("ended", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("started", flush=True)
time.sleep(60)
"""
PARENT = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); " + SLEEP


class Starter:
    """Starts Python programs that are ended after the test."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "logs" / "server.log"
        self.started: list[Process] = []

    def __call__(self, program: str) -> Process:
        self.started.append(processes.start("server", [sys.executable, "-c", program], dict(os.environ), self.log))
        return self.started[-1]

    def output(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if not line.startswith("---")]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    for process in starter.started:
        processes.stop(process, seconds=0)


def wait_for_output(start: Starter) -> str:
    deadline = time.monotonic() + 20
    while not start.output() and time.monotonic() < deadline:
        time.sleep(0.02)
    return start.output()[-1]


def died(process: Process) -> bool:
    deadline = time.monotonic() + 20
    while processes.alive(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not processes.alive(process)


def test_a_started_process_lives_in_a_session_of_its_own_and_writes_to_its_log(start: Starter) -> None:
    program = "import sys; print('out', flush=True); print('err', file=sys.stderr, flush=True); print(repr(sys.stdin.read()), flush=True); " + SLEEP

    process = start(program)

    assert processes.alive(process)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    deadline = time.monotonic() + 20
    while len(start.output()) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert start.output() == ["out", "err", "''"]


def test_a_process_outlives_the_one_that_started_it(tmp_path: Path) -> None:
    program = f"""
import os, sys
from pathlib import Path
from core import processes
print(*processes.start("server", [sys.executable, "-c", {SLEEP!r}], dict(os.environ), Path({str(tmp_path / "log")!r})).__dict__.values(), sep="|")
"""

    answer = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)

    name, pid, created, log = answer.stdout.strip().split("|")
    process = Process(name, int(pid), float(created), log)
    assert answer.stderr == ""
    assert processes.alive(process)
    assert processes.stop(process)


def test_a_process_begins_when_it_has_been_written_down(start: Starter, tmp_path: Path) -> None:
    def remember(process: Process) -> None:
        time.sleep(0.3)
        (tmp_path / "note").write_text(str(process.pid))

    program = f"import os; print(open({str(tmp_path / 'note')!r}).read() == str(os.getpid()), flush=True)"
    start.started.append(processes.start("server", [sys.executable, "-c", program], dict(os.environ), start.log, remember=remember))

    assert wait_for_output(start) == "True"


def test_a_start_that_is_killed_before_it_could_write_down_leaves_no_process(start: Starter, tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
from pathlib import Path
from core import processes

def remember(process):
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

processes.start("server", [sys.executable, "-c", "print('began')"], dict(os.environ), Path({str(start.log)!r}), remember=remember)
"""

    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert psutil.wait_procs([psutil.Process(pid) for pid in [int(killed.stdout)] if psutil.pid_exists(pid)], timeout=20)[1] == []
    assert start.output() == []


def test_a_process_that_cannot_be_written_down_does_not_begin(start: Starter) -> None:
    def remember(process: Process) -> None:
        start.started.append(process)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        processes.start("server", [sys.executable, "-c", "print('began')"], dict(os.environ), start.log, remember=remember)

    assert died(start.started[-1])
    assert start.output() == []


def test_a_killed_child_is_dead_and_leaves_no_zombie(start: Starter) -> None:
    process = start(SLEEP)

    os.kill(process.pid, signal.SIGKILL)

    assert died(process)
    assert not psutil.pid_exists(process.pid)


def test_a_zombie_of_another_parent_is_dead() -> None:
    careless = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; child = subprocess.Popen(['true']); print(child.pid, flush=True); {SLEEP}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert careless.stdout
    zombie = psutil.Process(int(careless.stdout.readline()))

    process = Process("server", zombie.pid, zombie.create_time(), "")

    assert died(process)
    assert zombie.status() == psutil.STATUS_ZOMBIE
    assert not processes.stop(process)
    careless.kill()
    careless.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process whose first thread has ended as a zombie")
def test_a_zombie_whose_threads_still_work_is_alive(start: Starter) -> None:
    process = start(
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=[60]).start(); print('started', flush=True); "
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    wait_for_output(start)
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.02)

    assert processes.alive(process)
    assert processes.stop(process, seconds=1)
    assert not processes.alive(process)


def test_a_process_under_a_recycled_pid_is_neither_alive_nor_stopped(start: Starter) -> None:
    innocent = start(SLEEP)

    stale = replace(innocent, created=innocent.created - 3600)

    assert not processes.alive(stale)
    assert not processes.stop(stale)
    assert processes.alive(innocent)


def test_a_clock_that_was_put_right_does_not_hide_a_process(start: Starter) -> None:
    process = start(SLEEP)

    shifted = replace(process, created=process.created + 1)

    assert processes.alive(shifted)


def test_stop_waits_until_the_process_is_gone_and_may_be_called_again(start: Starter) -> None:
    process = start(SLOW_TO_END)
    wait_for_output(start)

    answers = [processes.stop(process), processes.stop(process)]

    assert answers == [True, False]
    assert start.output() == ["started", "ended"]
    assert not psutil.pid_exists(process.pid)


def test_a_process_that_ignores_the_request_is_killed(start: Starter) -> None:
    process = start(STUBBORN)
    wait_for_output(start)

    began = time.monotonic()
    processes.stop(process, seconds=0.5)

    assert not processes.alive(process)
    assert 0.5 <= time.monotonic() - began < 5


@pytest.mark.parametrize("killed", [pytest.param(False, id="parent alive"), pytest.param(True, id="parent killed before")])
def test_the_children_are_stopped_too(start: Starter, killed: bool) -> None:
    parent = start(PARENT)
    child = int(wait_for_output(start))
    if killed:
        os.kill(parent.pid, signal.SIGKILL)
        assert died(parent)

    stopped = processes.stop(parent)

    assert stopped
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_process_is_found_by_an_argument(start: Starter, tmp_path: Path) -> None:
    process = start(SLEEP + f"  # {tmp_path}")

    found = processes.find(SLEEP + f"  # {tmp_path}")

    assert [each.pid for each in found] == [process.pid]
    assert processes.stop(found[0])
    assert not processes.alive(process)


def test_a_child_that_was_just_forked_is_not_found_as_another_copy(start: Starter) -> None:
    program = "import os, time; os.fork(); print('forked', flush=True); time.sleep(60)"
    process = start(program)
    while len(start.output()) < 2:
        time.sleep(0.02)

    found = processes.find(program)

    assert [each.pid for each in found] == [process.pid]


def test_a_free_port_can_be_bound_and_is_not_free_while_it_is() -> None:
    port = processes.free_port()

    with socket.create_server(("127.0.0.1", port)):
        taken = not processes.is_free(port)

    assert taken
    assert processes.LOWEST_PORT <= port < processes.HIGHEST_PORT


def test_waiting_ends_when_the_server_is_ready(start: Starter) -> None:
    process = start("print('ready', flush=True); " + SLEEP)

    processes.wait_until(lambda: bool(start.output()), process, 20, "the server")

    assert start.output() == ["ready"]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        pytest.param("raise OSError(28, 'No space left on device')", "No space left on device", id="disk full"),
        pytest.param(
            "print('bind: address already in use'); print('bye'); raise SystemExit(1)", "bind: address already in use (", id="cause before the end"
        ),
        pytest.param("print('it went wrong'); raise SystemExit(1)", "it went wrong (", id="last line"),
        pytest.param("raise SystemExit(1)", "its log is empty", id="silent"),
    ],
)
def test_a_server_that_dies_gives_the_reason_from_its_log(start: Starter, program: str, reason: str) -> None:
    start("print('permission denied: of an earlier start')")
    assert died(start.started[0])

    process = start(program)
    with pytest.raises(UserError) as error:
        processes.wait_until(lambda: False, process, 20, "the server")

    assert str(error.value).startswith("the server ended while it started: ")
    assert reason in str(error.value)
    assert str(start.log) in str(error.value)
    assert "earlier" not in str(error.value)


def test_a_server_that_takes_too_long_is_named_with_its_log(start: Starter) -> None:
    process = start(SLEEP)

    with pytest.raises(UserError) as error:
        processes.wait_until(lambda: False, process, 0.1, "the server")

    assert str(error.value) == f"the server does not answer after 0 s: see {start.log}"
