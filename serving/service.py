"""The state of a server: the one version that it is for, and everything that answers for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.access_log import AccessLog
from serving.batching import Batcher
from serving.body import Bodies
from serving.budget import Budget
from serving.drain import Drain
from serving.errors import RequestError, busy
from serving.hosts import Hosts
from serving.metrics import Metrics
from serving.model import Model, Version
from serving.origins import Origins
from serving.settings import Settings
from serving.weight import row_weight

if TYPE_CHECKING:
    from serving.prediction_log import PredictionLog


class Service:
    """The version that this process is for, and its model once that is proved."""

    def __init__(self, version: Version, settings: Settings, drain: Drain) -> None:
        self.version, self.settings, self.drain = version, settings, drain
        self.metrics, self.bodies, self.access_log = Metrics(), Bodies(), AccessLog(settings.access_log)
        self.hosts, self.origins, self.budget = Hosts(settings.host), Origins(settings.cors), Budget(settings.memory)
        self.row_weight = 0
        self.model: Model | None = None
        self.batcher: Batcher | None = None
        self.log: PredictionLog | None = None
        self.headers = [(b"x-model-version", version.version.encode("latin-1"))]
        self.below = f"/{version.name}"

    def open(self, model: Model) -> None:
        """Take requests for a model from now on."""
        self.metrics.expect(model.manifest, model.golden)
        self.batcher = Batcher(model.engine, self.metrics.batch)
        if self.settings.prediction_log:
            from serving.prediction_log import PredictionLog

            self.log = PredictionLog(self.version, model.manifest, self.settings.prediction_log)
            self.log.start()
        self.row_weight = row_weight(model, is_logged=self.log is not None)
        self.budget.measure(self.log.size if self.log else 0)
        self.headers = [*self.headers, (b"x-model-engine", model.engine.name.encode())]
        self.model = model

    def close(self) -> None:
        """Write what is not written yet."""
        if self.log:
            self.log.close(self.settings.log_seconds)

    def proved(self) -> Model:
        """Return the model, or refuse: no request reaches an unproved one."""
        if self.model is None:
            raise busy(f"{self.version} is loading: try again in a moment")
        return self.model

    def check_ready(self) -> None:
        """Refuse while the model is not proved, and when the server leaves: that goes on answering, but wants no new clients."""
        self.proved()
        if self.drain.begun:
            raise busy(f"{self.version} leaves here: ask again, another server answers")

    @property
    def is_ready(self) -> bool:
        """Whether it wants requests."""
        return self.model is not None and not self.drain.begun

    def check_name(self, name: str, version: str | None = None) -> None:
        """Refuse what is asked of another model or version.

        Raises:
            RequestError: Not found (404).
        """
        if name != self.version.name or version not in (None, self.version.version):
            raise RequestError(404, f"this server has {self.version}, not {name} version {version or 'any'}")

    def count_refusal(self, status: int, client: tuple[str, int] | None) -> None:
        """Count what was refused before it was a request, and write it down."""
        self.metrics.codes["http", status] += 1
        if self.access_log.on:
            self.access_log.write({"client": client}, {}, status)

    def description(self) -> dict[str, str]:
        """Say what serves, in labels."""
        known = {"engine": self.model.engine.name, "task": self.model.manifest.task} if self.model else {}
        return {"name": self.version.name, "version": self.version.version, "digest": self.version.digest, **known}
