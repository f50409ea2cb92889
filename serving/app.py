"""The server's routes: HTTP here, protocols and models elsewhere."""

import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version as installed
from typing import Any

import anyio
import orjson
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from core.errors import UserError
from serving import VERSION
from serving.body import read_json
from serving.drain import Drain
from serving.errors import RequestError
from serving.model import Model, Version
from serving.protocols import mlflow, open_inference

THREADS = 2

logger = logging.getLogger(__name__)


class Serving:
    """The version that this process is for, and its model once that is proved."""

    def __init__(self, version: Version, drain: Drain) -> None:
        self.version = version
        self.drain = drain
        self.model: Model | None = None

    def proved(self) -> Model:
        """Return the model, or refuse: no request reaches an unproved one."""
        if self.model is None:
            raise RequestError(503, f"{self.version} is loading: try again in a moment", {"retry-after": "1"})
        return self.model

    def check_ready(self) -> None:
        """Refuse while the model is not proved, and when the server leaves: that goes on answering, but wants no new clients."""
        self.proved()
        if self.drain.begun:
            raise RequestError(503, f"{self.version} leaves here: ask again, another server answers", {"retry-after": "1"})


def application(version: Version, load: Callable[[Version], Model], fail: Callable[[str], None], drain: Drain) -> Starlette:
    """Build the server of one version; it loads in the background, so that liveness answers at once.

    Each route is there twice: by itself, and below the model's name, where an ingress finds it among others.

    Args:
        version: What to serve.
        load: Fetches and proves it.
        fail: Called with one sentence when it cannot be served: ends the process.
        drain: Whether the server leaves.
    """
    serving = Serving(version, drain)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        async with anyio.create_task_group() as background:
            background.start_soon(_load, serving, load, fail)
            yield
            background.cancel_scope.cancel()

    handlers = {RequestError: _refused, HTTPException: _no_route, ClientDisconnect: _gone}
    routes = [*_routes(), *_routes(f"/{version.name}"), Route(f"/{version.name}", _server)]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)  # type: ignore[arg-type]
    app.router.redirect_slashes = False
    app.state.serving = serving
    return app


async def _load(serving: Serving, load: Callable[[Version], Model], fail: Callable[[str], None]) -> None:
    try:
        serving.model = await to_thread.run_sync(load, serving.version, abandon_on_cancel=True)
        logger.info("ready: %s, %s, engine %s", serving.version, serving.version.digest, serving.model.engine.name)
    except UserError as error:
        fail(str(error))
    except Exception:
        logger.exception("loading failed")
        fail(f"{serving.version} could not be loaded: this is a defect, please report the lines above")


def _routes(below: str = "") -> list[Route]:
    routes = [
        Route(f"{below}/v2", _server),
        Route(f"{below}/v2/health/live", _live),
        Route(f"{below}/v2/health/ready", _ready),
        Route(f"{below}/ping", _ready),
        Route(f"{below}/health", _ready),
        Route(f"{below}/version", _version),
        Route(f"{below}/invocations", _answering(mlflow.invoke), methods=["POST"]),
    ]
    model = below + "/v2/models/{name}"
    for path in (model, model + "/versions/{version}"):
        routes += [
            Route(path, _metadata),
            Route(f"{path}/ready", _model_ready),
            Route(f"{path}/infer", _answering(open_inference.infer), methods=["POST"]),
        ]
    return routes


async def _server(request: Request) -> Response:
    return _respond(request, {"name": "kubeflow-mlops-template", "version": VERSION, "extensions": []})


async def _live(request: Request) -> Response:
    return _respond(request, {"live": True})


async def _ready(request: Request) -> Response:
    _serving(request).check_ready()
    return _respond(request, {"ready": True})


async def _version(_: Request) -> Response:
    # MLflow's clients ask which MLflow answers: it is the one of this environment.
    return PlainTextResponse(installed("mlflow"))


async def _metadata(request: Request) -> Response:
    _check_name(request)
    return _respond(request, open_inference.metadata(_serving(request).proved()))


async def _model_ready(request: Request) -> Response:
    _check_name(request)
    _serving(request).check_ready()
    return _respond(request, {"name": _serving(request).version.name, "ready": True})


def _answering(protocol: Callable[[Model, Any], dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
    """Make the endpoint of a protocol's function."""

    async def endpoint(request: Request) -> Response:
        _check_name(request)
        model = _serving(request).proved()
        document = await read_json(request)
        return _respond(request, await to_thread.run_sync(_answer, protocol, model, document, abandon_on_cancel=True))

    return endpoint


def _answer(protocol: Callable[[Model, Any], dict[str, Any]], model: Model, document: Any) -> dict[str, Any]:
    try:
        return protocol(model, document)
    except RequestError:
        raise
    except ValueError as error:  # scikit-learn's word for rows that it cannot take: the golden rows it could
        raise RequestError(400, f"the model refuses these rows: {error}") from error
    except Exception as error:  # the message may hold feature values, the place does not
        logger.error("%s while answering, at\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        raise RequestError(500, "the model failed: the server's log says where") from error


def _check_name(request: Request) -> None:
    serving = _serving(request).version
    asked = request.path_params
    if asked.get("name", serving.name) != serving.name or asked.get("version", serving.version) != serving.version:
        raise RequestError(404, f"this server has {serving}, not {asked['name']} version {asked.get('version', 'any')}")


async def _refused(request: Request, error: RequestError) -> Response:
    return _respond(request, {"error": error.message}, error.status, error.headers)


async def _no_route(request: Request, error: HTTPException) -> Response:
    messages = {404: f"there is no {request.url.path} here", 405: f"{request.method} is not for {request.url.path}"}
    return _respond(request, {"error": messages.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _gone(_: Request, __: ClientDisconnect) -> Response:
    return Response(status_code=400)


def _respond(request: Request, content: dict[str, Any], status: int = 200, headers: Any = None) -> Response:
    named = {"x-model-version": _serving(request).version.version, **(headers or {})}
    return Response(orjson.dumps(content), status, named, "application/json")


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving
