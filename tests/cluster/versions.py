"""Small real models in the cluster's registry, as the register step leaves them."""

from __future__ import annotations

import functools
import uuid
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from core import registry
from core.bundle import Bundle, Golden, Label, digest, pack
from core.registry import Version
from tests.unit import models
from tests.unit.serving.models import columns_of, trained

KINDS = 3  # how many models there are that answer differently


@dataclass(frozen=True)
class Published:
    """A registered version and what it holds."""

    version: Version
    bundle: Bundle

    @property
    def number(self) -> str:
        """Its number in the registry."""
        return self.version.version


def usecase() -> str:
    """Make a name that no other test uses."""
    return f"small-{uuid.uuid4().hex[:8]}"


def bundle(name: str, kind: int = 0) -> Bundle:
    """Give one of KINDS models that answer the same rows differently."""
    found = _fitted(kind % KINDS)
    return replace(found, manifest=replace(found.manifest, name=name))


def publish(name: str, kind: int = 0, judged_against: str = "", like: Bundle | None = None) -> Published:
    """Store and register a version."""
    content = like or bundle(name, kind)
    version = models.published(content, judged_against)
    return Published(_tagged(version), content)


def publish_faulty(name: str, fault: str, judged_against: str, kind: int = 1) -> Published:
    """Register a version whose server misbehaves when it runs the image FAULTY, which reads the kind of fault from the address."""
    from core import storage

    content = bundle(name, kind)
    data = pack(content)
    uri = f"s3://models/faults/{fault}/{name}/{digest(data).removeprefix('sha256:')}.zip"
    storage.write(uri, data)
    return Published(_tagged(models.version(name, digest(data), judged_against, uri)), content)


def wrong(content: Bundle) -> Bundle:
    """The same model, with golden answers that it does not give."""
    answers: list[Label] = [1 - int(label) for label in content.golden.predict]
    return replace(content, golden=Golden(content.golden.rows, answers, content.golden.predict_proba))


def _tagged(version: Version) -> Version:
    registry.tag(version, {"reason": "a test", "data.sha256": "0123456789abcdef", "kfp.pipeline_run_id": uuid.uuid4().hex})
    found = registry.get(version.name, version.version)
    assert found
    return found


@functools.cache
def _fitted(kind: int) -> Bundle:
    random = np.random.default_rng(0)
    numbers = pd.DataFrame(random.normal(size=(120, 3)), columns=["x", "y", "z"])
    target = (numbers["x"] + numbers["y"] * kind > 0).astype(int).tolist()
    columns = columns_of(numbers, ["north", "south", None])
    return trained("small", "binary", columns, target, LogisticRegression(C=1.0 + kind), "INT64").bundle
