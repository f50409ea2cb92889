"""Start a model server: `python -m serving --uri s3://models/... --digest sha256:... --name flights --version 3`."""

import argparse
import logging
import os
import signal
import socket
import sys

# One request is one thread's work: OpenMP's own threads would only fight over the cores. It is read once, when NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import uvicorn
from starlette.applications import Starlette

from core.errors import UserError
from serving.app import application
from serving.model import Version, load

DRAIN_SECONDS = 10

logger = logging.getLogger("serving")


def main() -> int:
    """Serve until SIGTERM; 1 when the version cannot be served."""
    arguments = _arguments()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("serving").setLevel(logging.INFO)
    try:
        listener = _listen(arguments.host, arguments.port)
    except UserError as error:
        return _failed(str(error))
    return _serve(Version(arguments.name, arguments.version, arguments.uri, arguments.digest), listener)


def _serve(version: Version, listener: socket.socket) -> int:
    failures: list[str] = []

    def fail(sentence: str) -> None:
        failures.append(sentence)
        server.should_exit = True

    server = uvicorn.Server(_config(application(version, load, fail)))
    logger.info("listening on %s, loading %s from %s", _address(listener), version, version.uri)
    # uvicorn drains, then raises the signal again: a drained server has done its duty.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
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
    parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"), help="address to listen on (HOST)")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT", "8080"), help="port to listen on (PORT)")
    return parser.parse_args()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host}:{port} ({error}): choose another --port or end what has it") from error


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{host}:{port}"


def _failed(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
