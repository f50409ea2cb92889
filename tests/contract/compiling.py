"""Compile in a thread: kfp reads the caller's stack, and below pytest-xdist that takes 3 s a pipeline."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from core.configfile import load
from pipelines.build import compile_one

P = ParamSpec("P")
T = TypeVar("T")


def in_a_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function with an empty stack above it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **kwargs).result()


def compile_wine(folder: Path, *overrides: str, caching: bool = True) -> Path:
    """Compile the wine use case, changed by overrides."""
    return in_a_thread(compile_one, load("wine", overrides), folder, caching=caching)
