"""The gRPC server: its port, its limits, and which method answers what."""

from __future__ import annotations

import logging
import os
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # of what it would print, a sentence of ours says what matters

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from core.errors import UserError
from serving.body import BODY_LIMIT
from serving.drain import Drain
from serving.rpc.messages import SERVICE
from serving.rpc.methods import Methods
from serving.service import Service

FLIGHT_SECONDS = 10  # for what is in flight when the door closes
MOST = 1024  # RPCs at once
AGE = 0.8  # of the drain: gRPC adds up to a tenth of its own
OPTIONS = [
    ("grpc.max_receive_message_length", BODY_LIMIT),
    ("grpc.max_concurrent_streams", MOST),  # of one connection: whoever has more waits, others are refused
    ("grpc.compression_enabled_algorithms_bitset", 1),  # none: a small message could become a very large one
    ("grpc.http2.bdp_probe", 0),  # it lets a connection send megabytes ahead that nobody reads yet
    ("grpc.so_reuseport", 0),  # two servers on one port would be a mistake that nobody sees
    ("grpc.keepalive_time_ms", 60_000),  # a client that has vanished is noticed
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients may do so, too
    ("grpc.keepalive_permit_without_calls", 1),
]

logger = logging.getLogger(__name__)


async def start(service: Service) -> Any:
    """Listen, and answer.

    Raises:
        UserError: The port is taken, or the address is none of this machine.
    """
    server = grpc.aio.server(options=[*OPTIONS, *_age(service.drain)], maximum_concurrent_rpcs=MOST)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, Methods(service).handlers()),))
    host, _, port = service.settings.grpc.rpartition(":")
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise UserError(f"cannot listen on {address} for gRPC: choose another --grpc-port or end what has it") from error
    await server.start()
    logger.info("gRPC: listening on %s", address)
    return server


def _age(drain: Drain) -> list[tuple[str, int]]:
    """Have clients connect anew that often that each does once in a drain, and then finds another server.

    They notice nothing of that. Of the end of a server they would: gRPC refuses what is on its way when the door closes.
    """
    return [("grpc.max_connection_age_ms", int(drain.seconds * AGE * 1000))] if drain.seconds else []
