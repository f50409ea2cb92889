"""What every component has in common: the one image, nothing installed at its start, a log of its own."""

import os
from collections.abc import Callable
from typing import Any

from kfp import dsl

from core.image import DEFAULT

IMAGE = os.environ.get("IMAGE") or DEFAULT
EXECUTORS = ("kfp.dsl.executor_main", "components.executor")  # kfp's, and ours


def step(function: Callable[..., Any]) -> Any:
    """Make a component of a function."""
    component = dsl.component(function, base_image=IMAGE, install_kfp_package=False)
    container = component.component_spec.implementation.container
    container.command = [part.replace(*EXECUTORS) for part in container.command]
    return component
