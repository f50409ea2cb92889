"""The Open Inference Protocol over gRPC, on a port of its own; nothing of it is imported unless somebody asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.errors import UserError
from serving.service import Service


@asynccontextmanager
async def serve(service: Service) -> AsyncIterator[None]:
    """Answer RPCs, on this event loop, until the end; then those in flight.

    Raises:
        UserError: gRPC is not installed, or cannot listen where it should.
    """
    try:
        from serving.rpc.server import FLIGHT_SECONDS, start
    except ImportError as error:
        cure = "install the extra (make add EXTRAS=grpc), build the image with --build-arg EXTRAS=grpc, or leave out --grpc-port"
        raise UserError(f"gRPC cannot be imported ({error}): {cure}") from error
    server = await start(service)
    yield
    await server.stop(FLIGHT_SECONDS)
