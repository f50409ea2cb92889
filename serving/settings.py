"""How a server behaves; each from an option or the environment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What the operator decides.

    Attributes:
        access_log: Whether each request is written down.
        prediction_log: Share of requests whose rows and answers are kept.
        log_seconds: How long the end waits for the prediction log to be written.
        grpc: Where gRPC listens, `host:port`, empty for not at all.
    """

    access_log: bool = False
    prediction_log: float = 0.0
    log_seconds: float = 20.0
    grpc: str = ""
