"""One version of one model: fetched by digest, proved on its golden rows, then served."""

import logging
from dataclasses import dataclass

from core.bundle import Golden, Manifest, differences, unpack
from core.engines import Engine, load_engine
from core.errors import UserError
from core.storage import read
from serving.columns import Schema

SHOWN = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """The exact model version that a deployment names."""

    name: str
    version: str
    uri: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True)
class Model:
    """A version whose engine gave the answers of training."""

    version: Version
    manifest: Manifest
    golden: Golden
    engine: Engine
    schema: Schema

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the model answers with."""
        return tuple(output.name for output in self.manifest.outputs)


def load(version: Version) -> Model:
    """Fetch the version from object storage and prove it.

    Raises:
        UserError: It cannot be fetched, is not what was registered, or answers differently from training.
    """
    bundle = unpack(read(version.uri), version.digest)
    try:
        model = Model(version, bundle.manifest, bundle.golden, load_engine(bundle), Schema(bundle.manifest.inputs, bundle.manifest.dialect))
        wrong = replay(model)
    except UserError:
        raise
    except Exception as error:  # whatever a model of another scikit-learn raises; its message may hold feature values
        raise UserError(_unusable(version, bundle.manifest, type(error).__name__)) from error
    if wrong:
        raise UserError(f"{version} is not served: it answers its golden rows differently from training: {_list(wrong)}")
    logger.info("%s: %d golden rows gave the answers of training", version, len(bundle.golden.rows))
    return model


def replay(model: Model) -> list[str]:
    """Ask the model its golden rows and return what differs, a line a row."""
    golden = model.golden
    if not golden.rows:
        raise UserError(f"{model.version} is not served: it has no golden rows to prove it with; register it again")
    columns = [[row.get(name) for row in golden.rows] for name in model.schema.names]
    answers = model.engine.answer([model.engine.table(columns)], model.outputs)
    proba = answers["predict_proba"].tolist() if "predict_proba" in answers else None
    return differences(golden, answers["predict"].tolist(), proba)


def _list(lines: list[str]) -> str:
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more


def _unusable(version: Version, manifest: Manifest, error: str) -> str:
    from importlib.metadata import version as installed

    package = {"onnx": "onnxruntime"}.get(manifest.engine, "scikit-learn")
    there, here = manifest.versions.get(package, "an unknown version"), installed(package)
    return f"{version} cannot answer its golden rows ({error}): it was registered with {package} {there}, this server has {here}; train it again"
