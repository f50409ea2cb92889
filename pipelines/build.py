"""Compile: every use case and pipeline to the YAML that is checked in under pipelines/compiled."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from core.config import UseCase
from core.configfile import load, names
from core.errors import UserError, one_line
from pipelines.images import use_image
from pipelines.package import COMPILED, written


def build(folder: Path = COMPILED, image: str | None = None) -> Iterator[Path]:
    """Compile every use case that is finished, then refuse the others.

    Args:
        folder: Where `<usecase>-<pipeline>.yaml` is written.
        image: The image of the steps, with a tag or digest that never changes its meaning.

    Yields:
        Each file once it is written.

    Raises:
        UserError: A use case is unfinished; one line each.
    """
    if image:
        use_image(image)
    problems = []
    for name in names():
        try:
            path = compile_one(load(name), folder)
        except UserError as error:
            problems.append(f"{name} was not compiled, its folder is unfinished: {one_line(error)}")
        else:
            yield path
    if problems:
        raise UserError("\n".join(problems))


def compile_one(usecase: UseCase, folder: Path = COMPILED, *, caching: bool = True) -> Path:
    """Compile a use case's training pipeline; a file is there whole or not at all.

    Args:
        usecase: The use case. Its text is the default of the pipeline's parameter.
        folder: Where the file is written.
        caching: Whether steps may take their outputs from the cache.
    """
    from pipelines.training import training

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{usecase.name}-training.yaml"
    return write(training(usecase, caching=caching), usecase.text, f"usecases/{usecase.name}/config.yaml", path)


def write(pipeline: Any, config: str, origin: str, path: Path) -> Path:
    """Compile one pipeline to a file, in which texts of several lines are blocks: a changed line of the config is one changed line.

    Args:
        pipeline: The pipeline.
        config: The default of its parameter.
        origin: The file that the default comes from.
        path: The file that is written, whole or not at all.
    """
    from kfp import compiler

    draft = path.with_name(f".{path.stem}.{os.getpid()}.yaml")
    compiler.Compiler().compile(pipeline, str(draft))
    # kfp repeats the default in a comment at the top, where its second line would be no comment
    text = draft.read_text(encoding="utf-8").replace(f"[Default: '{config}']", f"[Default: {origin}]", 1)
    draft.write_text(written(text, yaml.load_all(text, yaml.CSafeLoader)), encoding="utf-8")
    return draft.replace(path)


def shape(usecase: UseCase) -> tuple[Any, ...]:
    """Return the parts of a use case that are part of its YAML, too. All others reach the steps by the run's parameter alone."""
    return usecase.limits.steps, usecase.limits.requests, usecase.load, usecase.spark, usecase.train.refit, usecase.evaluate.register_anyway
