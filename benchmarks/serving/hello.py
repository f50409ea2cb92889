"""The least that a server on Starlette can do, which is the limit of what one on it can reach: `uvicorn benchmarks.serving.hello:app`."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def hello(_: Request) -> PlainTextResponse:
    """Greet."""
    return PlainTextResponse("hello world")


app = Starlette(routes=[Route("/", hello)])
