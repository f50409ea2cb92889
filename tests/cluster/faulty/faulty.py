"""The model server with one fault, for tests: `s3://models/faults/nan-answers/3.zip` is a model that answers without probabilities.

As `sitecustomize` it is imported before `python -m serving` begins. It leaves every other program alone, and the server, too, when its
MODEL_URI names no kind of fault.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.engines import Answers
    from serving.model import Model

LIFETIME = 10  # seconds of a server that crashes
PATIENCE = 60  # seconds of a server that is slow
MOST = 4 * 1024**3  # bytes: a server without a limit stops here


def crash_at_start() -> None:
    """End at once, with the words of a server that found out by itself."""
    import serving.app

    def application(*_: Any) -> Any:
        print("error: this server crashes at its start", file=sys.stderr, flush=True)
        os._exit(1)

    serving.app.application = application  # type: ignore[assignment]


def crash_after_10s() -> None:
    """Answer rightly for ten seconds, then end."""
    change_model(doom)


def never_ready() -> None:
    """Load for ever."""
    change_model(lambda _: threading.Event().wait())


def wrong_answers() -> None:
    """Answer the golden rows rightly to oneself, then each row with another class or number."""
    change_engine(wrong)


def nan_answers() -> None:
    """Answer with numbers that are none."""
    change_engine(nan)


def slow() -> None:
    """Take a minute for each answer."""
    change_engine(late)


def wrong_version() -> None:
    """Answer in the name of another version."""
    import serving.service

    class Otherwise(serving.service.Service):
        def open(self, model: Model) -> None:
            super().open(replace(model, version=replace(model.version, version=f"{model.version.version}0")))
            self.headers = [(name, value + b"0" if name == b"x-model-version" else value) for name, value in self.headers]

    serving.service.Service = Otherwise  # type: ignore[misc]


def memory_hog() -> None:
    """Take memory until the kernel ends it, a few seconds after the start."""
    change_model(grow)


def hangs_on_term() -> None:
    """Do not hear that it is time to go."""
    import serving.drain

    serving.drain.Server.handle_exit = lambda *_: None  # type: ignore[method-assign]


def change_model(change: Callable[[Model], Any]) -> None:
    """Have the server serve the changed model; its proof has passed by then."""
    import serving.model

    load = serving.model.load
    serving.model.load = lambda version: change(load(version))


def change_engine(change: Callable[[Answers, Model], Answers]) -> None:
    """Have the server answer what is made of the right answers."""
    change_model(lambda model: replace(model, engine=Faulty(model, change)))


class Faulty:
    """An engine that changes another's answers."""

    def __init__(self, model: Model, change: Callable[[Answers, Model], Answers]) -> None:
        self.name, self.table, self.quick_rows = model.engine.name, model.engine.table, 0
        self._model, self._change = model, change

    def answer(self, tables: Sequence[Any], outputs: Collection[str]) -> Answers:
        """See `core.engines.Engine`."""
        return self._change(self._model.engine.answer(tables, outputs), self._model)


def wrong(answers: Answers, model: Model) -> Answers:
    """Move each class to the next, each number up by one."""
    import numpy as np

    classes = list(model.manifest.classes or ())
    labels = answers.get("predict")
    changed = {name: np.roll(values, 1, axis=1) for name, values in answers.items() if name == "predict_proba"}
    if labels is not None:
        following = [classes[(classes.index(label) + 1) % len(classes)] if classes else label + 1 for label in labels.tolist()]
        changed["predict"] = np.asarray(following)
    return changed


def nan(answers: Answers, model: Model) -> Answers:
    """Put NaN in the place of every float: JSON has null for it."""
    return {name: values * float("nan") if values.dtype.kind == "f" else values for name, values in answers.items()}


def late(answers: Answers, model: Model) -> Answers:
    """Keep the answers back."""
    time.sleep(PATIENCE)
    return answers


def grow(model: Model) -> Model:
    """Write to ever more memory, 50 MB a tenth of a second; the model is never given away."""
    held: list[bytes] = []
    while sum(len(block) for block in held) < MOST:
        held.append(b"x" * 50_000_000)
        time.sleep(0.1)
    threading.Event().wait()
    return model


def doom(model: Model) -> Model:
    """Set the end of the process; the model is ready from now on."""
    threading.Timer(LIFETIME, crash).start()
    return model


def crash() -> None:
    """End without a goodbye."""
    print("error: this server crashes after it was ready", file=sys.stderr, flush=True)
    os._exit(1)


FAULTS = [crash_at_start, crash_after_10s, never_ready, wrong_answers, nan_answers, slow, wrong_version, memory_hog, hangs_on_term]


def misbehave() -> None:
    """Put the fault that MODEL_URI names into the server."""
    named = re.search(r"/faults/([^/]+)/", os.environ.get("MODEL_URI", ""))
    for fault in FAULTS:
        if named and fault.__name__.replace("_", "-") == named[1]:
            os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the server does it before its imports
            fault()


if sys.orig_argv[1:3] == ["-m", "serving"]:
    misbehave()
