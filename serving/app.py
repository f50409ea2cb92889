"""The server's routes: HTTP here, protocols and models elsewhere."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import UserError
from serving import memory
from serving.endpoint import Endpoint, refusal, respond
from serving.errors import RequestError
from serving.model import Model, Version
from serving.protocols import kserve, mlflow, open_inference
from serving.query import Reply
from serving.questions import MODEL, Answer, questions, server
from serving.service import Service

logger = logging.getLogger(__name__)


def application(service: Service, load: Callable[[Version], Model], fail: Callable[[str], None]) -> ASGIApp:
    """Build the server of one version; it loads in the background, so that liveness answers at once.

    Each route is there twice: by itself, and below the model's name, where an ingress finds it among others.

    Args:
        service: What serves.
        load: Fetches the version and proves it.
        fail: Called with one sentence when it cannot be served: ends the process.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as background:
            background.start_soon(_load, service, load, fail)
            async with _grpc(service, fail):
                yield
            background.cancel_scope.cancel()
        await to_thread.run_sync(service.close)

    routes = [route for below in ("", service.below) for route in _routes(service, below)]
    routes.append(Route(service.below, _answering(service, server)))
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _no_route(service)})
    app.router.redirect_slashes = False
    return _straight(app, service, routes)


def _straight(app: Starlette, service: Service, routes: list[Route]) -> ASGIApp:
    """Lead predictions by the paths of this very model past Starlette's routing and middleware, which they have no use for."""
    named = {"name": service.version.name, "version": service.version.version}
    endpoints = {route.path.format(**named): route.app for route in routes if isinstance(route.app, Endpoint)}

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = endpoints.get(scope.get("path", ""))
        if endpoint and scope["method"] == "POST":
            await endpoint(scope, receive, send)
            return
        try:
            service.hosts.check(scope)
        except RequestError as problem:
            await _response(service, problem.status, refusal(problem, open_inference.error))(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer


@asynccontextmanager
async def _grpc(service: Service, fail: Callable[[str], None]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if service.settings.grpc:
            from serving import rpc

            try:
                await stack.enter_async_context(rpc.serve(service))
            except UserError as error:
                fail(str(error))
        yield


async def _load(service: Service, load: Callable[[Version], Model], fail: Callable[[str], None]) -> None:
    try:
        model = await to_thread.run_sync(load, service.version, abandon_on_cancel=True)
        service.open(model)
        memory.settle()
        logger.info("ready: %s, %s, engine %s", service.version, service.version.digest, model.engine.name)
    except UserError as error:
        fail(str(error))
    except Exception:
        logger.exception("loading failed")
        fail(f"{service.version} could not be loaded: this is a defect, please report the lines above")


def _routes(service: Service, below: str) -> list[Route]:
    """Return the routes, those first that are asked most."""
    infer = Endpoint(service, "open-inference", open_inference.parse, open_inference.weigh, open_inference.error)
    posts = {
        "/invocations": Endpoint(service, "mlflow", mlflow.parse, mlflow.weigh, mlflow.error),
        f"{MODEL}/infer": infer,
        f"{MODEL}/versions/{{version}}/infer": infer,
        "/v1/models/{name}:predict": Endpoint(service, "kserve", kserve.parse, kserve.weigh, open_inference.error),
    }
    return [
        *(Route(below + path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
        *(Route(below + path, _answering(service, answer)) for path, answer in questions().items()),
    ]


def _answering(service: Service, answer: Answer) -> Callable[[Request], Awaitable[ASGIApp]]:
    """Make the endpoint of a question that no row is part of."""

    async def endpoint(request: Request) -> ASGIApp:
        try:
            if request.path_params:
                service.check_name(**request.path_params)
            return _response(service, 200, answer(service))
        except RequestError as error:
            return _response(service, error.status, refusal(error, open_inference.error))

    return endpoint


def _no_route(service: Service) -> Any:
    async def refuse(request: Request, error: HTTPException) -> ASGIApp:
        allowed = service.origins.preflight(dict(request.scope["headers"])) if request.method == "OPTIONS" else None
        if allowed is not None:
            return _response(service, 200, Reply(b"", headers=tuple([(name.encode(), value.encode()) for name, value in allowed.items()])))
        messages = {404: f"there is no {request.url.path} here", 405: f"{request.method} is not for {request.url.path}"}
        message = messages.get(error.status_code, error.detail)
        return _response(service, error.status_code, refusal(RequestError(error.status_code, message, error.headers), open_inference.error))

    return refuse


def _response(service: Service, status: int, reply: Reply) -> ASGIApp:
    async def response(scope: Scope, _: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        await respond(service, headers, send, status, reply)
        if service.access_log.on:
            service.access_log.write(scope, headers, status)

    return response
