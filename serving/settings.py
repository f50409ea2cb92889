"""How a server behaves; each from an option or the environment."""

from dataclasses import dataclass

from serving.budget import LIMIT


@dataclass(frozen=True)
class Settings:
    """What the operator decides.

    Attributes:
        access_log: Whether each request is written down.
        prediction_log: Share of requests whose rows and answers are kept.
        log_seconds: How long the end waits for the prediction log to be written.
        grpc: Where gRPC listens, `host:port`, empty for not at all.
        host: Where HTTP listens.
        keep_alive: Seconds that an idle connection stays open.
        cors: Origins of web pages that may ask.
        memory: Bytes that the process may have.
    """

    access_log: bool = False
    prediction_log: float = 0.0
    log_seconds: float = 20.0
    grpc: str = ""
    host: str = ""
    keep_alive: int = 75
    cors: tuple[str, ...] = ()
    memory: int = LIMIT
