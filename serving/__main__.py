"""Start a model server: `python -m serving --uri s3://models/... --digest sha256:... --name flights --version 3`."""

import argparse
import logging
import os
import resource
import signal
import socket
import sys
import warnings
from functools import partial

# One request is one thread's work: OpenMP's own threads would only fight over the cores. It is read once, when NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import uvicorn
from starlette.types import ASGIApp

from core.errors import UserError
from serving import memory
from serving.app import application
from serving.budget import LIMIT
from serving.connection import Connection
from serving.drain import Drain, Server
from serving.model import Version, load
from serving.service import Service
from serving.settings import Settings

FLIGHT_SECONDS = 10  # for what is in flight when the door closes
OPEN_FILES = 8192  # a soft limit is often below the number of connections

logger = logging.getLogger("serving")


def main() -> int:
    """Serve until SIGTERM; 1 when the version cannot be served."""
    arguments = _arguments()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("serving").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # a line a malformed request tells nobody anything
    warnings.simplefilter("ignore")  # nor do scikit-learn's on odd rows
    for number in (signal.SIGTERM, signal.SIGINT):  # until uvicorn listens: a container's first process ignores what it does not handle
        signal.signal(number, lambda *_: sys.exit(0))
    memory.bound()
    _open_files()
    host = every_address(arguments.host)
    try:
        listener = listen(host, arguments.port)
    except UserError as error:
        return _failed(str(error))
    version = Version(arguments.name, arguments.version, arguments.uri, arguments.digest)
    settings = Settings(
        arguments.access_log,
        arguments.prediction_log,
        grpc=f"{host}:{arguments.grpc_port}" if arguments.grpc_port else "",
        host=host,
        keep_alive=arguments.keep_alive_seconds,
        cors=tuple(arguments.cors_origins.replace(",", " ").split()),
        memory=arguments.memory_limit,
    )
    return _serve(Service(version, settings, Drain(arguments.drain_seconds)), listener)


def _serve(service: Service, listener: socket.socket) -> int:
    failures: list[str] = []

    def fail(sentence: str) -> None:
        failures.append(sentence)
        server.should_exit = True

    server = Server(_config(service, application(service, load, fail)), service.drain, service.metrics)
    logger.info("listening on %s, loading %s from %s", _address(listener), service.version, service.version.uri)
    try:
        server.run(sockets=[listener])
    finally:
        logger.info("stopped")
    return _failed(failures[0]) if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m serving", description="Serve one version of a model.", epilog="Each option may come from the environment."
    )
    for option, variable, meaning in (
        ("--uri", "MODEL_URI", "address of the served form, s3://models/..."),
        ("--digest", "MODEL_DIGEST", "its SHA-256, sha256:..."),
        ("--name", "MODEL_NAME", "name of the model"),
        ("--version", "MODEL_VERSION", "its version in the registry"),
    ):
        value = os.environ.get(variable)
        parser.add_argument(option, default=value, required=not value, help=f"{meaning} ({variable})")
    parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"), help="address to listen on, 0.0.0.0 for all, IPv6 too (HOST)")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT", "8080"), help="port to listen on (PORT)")
    seconds = os.environ.get("DRAIN_SECONDS", "0")
    parser.add_argument("--drain-seconds", type=int, default=seconds, help="how long it answers on after SIGTERM (DRAIN_SECONDS)")
    parser.add_argument(
        "--access-log", action="store_true", default=os.environ.get("ACCESS_LOG") == "1", help="a line of JSON a request (ACCESS_LOG=1)"
    )
    share = os.environ.get("PREDICTION_LOG", "0")
    parser.add_argument("--prediction-log", type=_share, default=share, help="share of requests kept in s3://predictions (PREDICTION_LOG)")
    grpc_port = os.environ.get("GRPC_PORT", "0")
    parser.add_argument("--grpc-port", type=int, default=grpc_port, help="port for gRPC, 0 for none; needs the extra grpc (GRPC_PORT)")
    keep_alive = os.environ.get("KEEP_ALIVE_SECONDS", "75")  # more than a proxy's 60: who reuses a connection has to close it
    parser.add_argument("--keep-alive-seconds", type=int, default=keep_alive, help="how long an idle connection stays open (KEEP_ALIVE_SECONDS)")
    cors = os.environ.get("CORS_ORIGINS", "")
    parser.add_argument("--cors-origins", default=cors, help="origins of web pages that may ask, * for all (CORS_ORIGINS)")
    limit = os.environ.get("MEMORY_LIMIT") or str(LIMIT)
    parser.add_argument("--memory-limit", type=int, default=limit, help="bytes that the server may have (MEMORY_LIMIT)")
    return parser.parse_args()


def _open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def every_address(host: str) -> str:
    """Take 0.0.0.0 for all addresses, IPv6 too, where one socket can have both."""
    every = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104
    return every if host in ("0.0.0.0", "::") else host  # noqa: S104


def listen(host: str, port: int) -> socket.socket:
    """Open the server's socket.

    Raises:
        UserError: The port is taken, or the address is none of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host}:{port} ({error}): choose another --port or end what has it") from error


def _config(service: Service, app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(Connection, service),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=FLIGHT_SECONDS,
        timeout_keep_alive=service.settings.keep_alive,
    )


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _failed(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    os._exit(main())  # without waiting for threads: one may hang in object storage
