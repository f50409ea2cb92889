"""Compile: every use case and pipeline to the YAML that is checked in under pipelines/compiled."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from core.configfile import load, names
from pipelines.images import use_image

# kfp repeats the default in a comment, in the order of a protobuf map, which differs from process to process
_HEADER_DEFAULT = re.compile(r"^(#    config: dict) \[Default: .*\]$", re.MULTILINE)
SHAPING = ("limits.steps", "load", "spark")  # parts of a config that are part of the YAML, too
COMPILED = Path(__file__).resolve().parent / "compiled"


def build(folder: Path = COMPILED, image: str | None = None) -> list[Path]:
    """Compile everything.

    Args:
        folder: Where `<usecase>-<pipeline>.yaml` is written.
        image: The image of the steps, with a tag or digest that never changes its meaning.

    Returns:
        The files.

    Raises:
        UserError: A config is wrong.
    """
    if image:
        use_image(image)
    return [compile_one(name, folder) for name in names()]


def compile_one(name: str, folder: Path = COMPILED, *, overrides: Iterable[str] = (), caching: bool = True) -> Path:
    """Compile one use case's training pipeline; a file is there whole or not at all.

    Args:
        name: The use case.
        folder: Where the file is written.
        overrides: `train.max_trials=3` and the like; only those that shape the pipeline make a difference.
        caching: Whether Kubeflow may reuse what a step gave for the same inputs. Its client's own switch reaches top-level tasks only.
    """
    from kfp import compiler

    from pipelines.training import training

    usecase, document = load(name, overrides)
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / f"{name}-training.yaml", folder / f".{name}-training.{os.getpid()}.yaml"
    compiler.Compiler().compile(training(usecase, document, caching=caching), str(draft))
    draft.write_text(_HEADER_DEFAULT.sub(rf"\1 [Default: usecases/{name}/config.yaml]", draft.read_text()))
    draft.replace(path)
    return path


def shaping(overrides: Iterable[str]) -> list[str]:
    """Return the overrides that the YAML depends on; the others reach the steps by the run's parameter alone."""
    return [override for override in overrides if override.startswith(SHAPING)]
