"""Server processes that outlive the command that started them."""

import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import psutil

from core.errors import UserError

# Below the ports that Linux (32768 up) and macOS (49152 up) give to outgoing connections: none of these takes it before the server listens.
LOWEST_PORT, HIGHEST_PORT = 10_000, 32_000

# Waits for a line; without one, at the end of who should write it, it ends. What it writes is for its owner's eyes only.
HELD = ("/bin/sh", "-c", 'umask 077; read -r _ && exec "$@" </dev/null', "sh")

# What a server takes from the user's shell: where programs and temporary files are, and how text is encoded. No proxy, account or option.
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE")

CAUSE = re.compile(
    r"no space left on device|disk is full|address already in use|permission denied|read-only file system|^F\d{4} |^panic: ", re.IGNORECASE
)


@dataclass(frozen=True)
class Process:
    """One started process. Pid and time of creation together are its identity, since the system uses pids again."""

    name: str
    pid: int
    created: float
    log: str


def start(
    name: str, command: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path | None = None, remember: Callable[[Process], object] | None = None
) -> Process:
    """Start a process that goes on when this one ends, its output appended to the log file. Returns at once.

    Args:
        name: What a log and an error call it.
        command: What to run.
        env: All of its environment.
        log: Where its output goes.
        cwd: Its working directory.
        remember: Writes the process down. The command begins only after that: whatever kills the caller leaves no process that nobody knows.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        output.write(f"{_header(name)} {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        output.flush()
        child = subprocess.Popen(
            [*HELD, *command], env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    child.returncode = 0  # it may outlive us: no warning that it still runs
    process = Process(name, child.pid, psutil.Process(child.pid).create_time(), str(log))
    with suppress(BrokenPipeError), cast(IO[bytes], child.stdin) as hold:  # broken where it was ended meanwhile: who waits for it sees that
        if remember:
            remember(process)
        hold.write(b"\n")
    return process


def inherited() -> dict[str, str]:
    """Return what a server's environment has from this process's, whatever else is set there."""
    return {name: os.environ[name] for name in KEPT if name in os.environ}


def alive(process: Process) -> bool:
    """Whether this very process runs: not another one under its pid, nor what is left of it after its death."""
    with suppress(psutil.Error):
        found = psutil.Process(process.pid)
        return _same(found, process) and _running(found)
    return False


def stop(process: Process, seconds: float = 10.0) -> bool:
    """End a process with all that it started and wait until they are gone.

    Args:
        process: What to end. A process that only has the same pid is left alone.
        seconds: How long it may take to end by itself (SIGTERM) before it is killed.

    Returns:
        Whether there was something to end.
    """
    found = bool(_family(process))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for member in _family(process):
            with suppress(psutil.Error):
                member.send_signal(number)
        if _gone(process, seconds):
            break
    return found


def find(argument: str) -> list[Process]:
    """Find what was started with this argument in its command line: what runs although nobody remembers it."""
    found = psutil.process_iter(["cmdline", "create_time"])
    return [Process("", each.pid, each.info["create_time"], "") for each in found if argument in (each.info["cmdline"] or []) and _leads(each.pid)]


def free_port() -> int:
    """Choose a port of the loopback interface that nobody listens on."""
    while not is_free(port := LOWEST_PORT + secrets.randbelow(HIGHEST_PORT - LOWEST_PORT)):
        pass
    return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    # macOS lets us bind beside a server that listens on all interfaces, so ask whether one answers.
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def wait_until(ready: Callable[[], bool], process: Process, seconds: float, what: str) -> None:
    """Wait until a started server is ready.

    Args:
        ready: Asks the server.
        process: The server's process.
        seconds: How long to wait at most.
        what: The server's name in an error.

    Raises:
        UserError: It died, with the reason that its log gives, or took too long.
    """
    deadline = time.monotonic() + seconds
    while True:
        if not alive(process):
            raise UserError(f"{what} ended while it started: {_reason(process)} (whole log: {process.log})")
        if ready():
            return
        if time.monotonic() > deadline:
            raise UserError(f"{what} does not answer after {seconds:.0f} s: see {process.log}")
        time.sleep(0.05)


def _leads(pid: int) -> bool:
    # A child that was just forked still shows the command line of its parent.
    with suppress(OSError):
        return os.getsid(pid) == pid
    return False


def _same(found: psutil.Process, process: Process) -> bool:
    # The time is derived from the clock, which may be put right meanwhile; no system comes round to the same pid within two seconds.
    return abs(found.create_time() - process.created) < 2


def _running(found: psutil.Process) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(found.pid, os.WNOHANG)  # only a parent can take its dead child off the process table
    # A killed process is a zombie while its last threads still hold its files.
    return found.is_running() and (found.status() != psutil.STATUS_ZOMBIE or found.num_threads() > 1)


def _family(process: Process) -> list[psutil.Process]:
    """Return the process and what it started: they share its session, also after its death, and no pid is used again while its session lives."""
    with suppress(psutil.Error):
        if not _same(psutil.Process(process.pid), process):
            return []
    return list(_session(process.pid))


def _session(leader: int) -> Iterator[psutil.Process]:
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if os.getsid(pid) == leader and _running(member := psutil.Process(pid)):
                yield member


def _gone(process: Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while left := _family(process):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return not left


def _reason(process: Process) -> str:
    """Return the last line of the log, since this start, that names a cause; else the last line at all."""
    with Path(process.log).open("rb") as file:
        file.seek(max(0, Path(process.log).stat().st_size - 65_536))
        text = file.read().decode(errors="replace").rpartition(_header(process.name))[2]
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    causes = [line for line in lines if CAUSE.search(line)]
    return (causes or lines or ["its log is empty"])[-1][:300]


def _header(name: str) -> str:
    return f"--- {name} started"
