"""The local runner on small compiled pipelines: the traps of kfp's own runner are closed."""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from kfp import compiler, dsl

from core import storage
from core.errors import UserError
from core.storage import artifacts
from local.platform import Platform
from local.runner import Step, run
from tests.contract.compiling import in_a_thread

step = dsl.component(base_image="localhost/python:1", install_kfp_package=False)
RUN = """
import sys
from pathlib import Path
from tests.e2e.test_runner import Watcher, run
run(Path(sys.argv[1]), "", "stopped", Path(sys.argv[2]), Watcher())
"""


class Watcher:
    """Remembers what the runner tells."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.steps: list[Step] = []

    def started(self, name: str) -> None:
        self.begun.append(name)

    def ended(self, step: Step) -> None:
        self.steps.append(step)


@step
def say(text: str) -> str:
    print(f"done: {text}")
    return text


@step
def measure() -> float:
    return 4.5


@step
def count() -> int:
    return 7


@step
def quote() -> str:
    return "don't"


@step
def decide(answer: bool) -> bool:
    return answer


@step
def forget(kept: dsl.Output[dsl.Dataset], lost: dsl.Output[dsl.Model]) -> None:
    from pathlib import Path

    Path(kept.path).write_text("kept")


@step
def write(file: dsl.Output[dsl.Dataset], folder: dsl.Output[dsl.Model], page: dsl.Output[dsl.HTML]) -> None:
    from pathlib import Path

    Path(file.path).write_text("one file")
    Path(folder.path, "below").mkdir(parents=True)
    Path(folder.path, "below", "weights").write_text("many")
    Path(page.path).write_text("<p>page</p>")


@step
def fail(words: str) -> None:
    print(words, flush=True)
    raise SystemExit(1)


@step
def die() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@step
def show() -> None:
    import os

    print(f"done: {os.environ['FROM_YAML']} {os.environ['FROM_SHELL']} {os.environ['KFP_RUN_ID']}")


@step
def chatter() -> None:
    import sys

    for number in range(5000):
        print(f"line {number}", file=sys.stderr if number % 2 else sys.stdout, flush=True)


@step
def hang(page: dsl.Output[dsl.HTML]) -> None:
    import signal
    import subprocess
    import time

    def take_back(*_: object) -> None:
        time.sleep(0.5)
        print("taken back", flush=True)
        raise SystemExit

    signal.signal(signal.SIGTERM, take_back)
    subprocess.Popen(["sleep", "600"])
    print("hanging", flush=True)
    time.sleep(600)


@step
def last_words(status: dsl.PipelineTaskFinalStatus) -> None:
    print(f"done: {status.state}")


Body = Callable[[], None]


def build(folder: Path, body: Body) -> Path:
    package = folder / f"{body.__name__.replace('_', '-')}.yaml"

    def pipeline(config: str = "") -> None:
        body()

    in_a_thread(lambda: compiler.Compiler().compile(dsl.pipeline(pipeline, name=package.stem), str(package)))
    return package


def execute(tmp_path: Path, body: Body) -> list[Step]:
    return run(build(tmp_path, body), "", str(uuid4()), tmp_path / "run", Watcher())


@pytest.fixture(autouse=True)
def environment(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restores what the runner sets."""
    monkeypatch.setenv("KFP_RUN_ID", "before")


def objects(prefix: str) -> set[str]:
    bucket, key = storage.split(prefix)
    return {str(item.object_name) for item in storage.client().list_objects(bucket, prefix=key, recursive=True)}


# Conditions


def gate_on_a_float() -> None:
    with dsl.If(measure().output > 3):
        say(text="opened")


def gate_on_an_integer_and_a_float() -> None:
    with dsl.If(count().output > 3.5):
        say(text="opened")


def gate_on_a_text_with_a_quote() -> None:
    with dsl.If(quote().output == "don't"):
        say(text="opened")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gate_on_a_float, id="float"),
        pytest.param(gate_on_an_integer_and_a_float, id="integer against float"),
        pytest.param(gate_on_a_text_with_a_quote, id="quote"),
    ],
)
def test_a_condition_that_could_not_be_evaluated_fails_the_run(tmp_path: Path, body: Body) -> None:
    with pytest.raises(UserError) as error:
        execute(tmp_path, body)

    assert str(error.value).startswith("a condition of the pipeline could not be evaluated, so what follows from it is unknown: ")


def open_and_closed_gates() -> None:
    with dsl.If(decide(answer=True).output == True, name="open"):  # noqa: E712  (kfp reads the comparison)
        say(text="opened")
    with dsl.If(decide(answer=False).output == True, name="closed"):  # noqa: E712
        say(text="never")


def test_a_closed_gate_is_no_failure_and_an_open_one_lets_through(tmp_path: Path) -> None:
    steps = execute(tmp_path, open_and_closed_gates)

    assert sorted((step.name, step.summary, step.error) for step in steps) == [("decide", "", ""), ("decide-2", "", ""), ("say", "opened", "")]


# Outputs


def a_lost_model() -> None:
    say(text="never").after(forget())


def test_a_declared_output_that_was_never_written_fails_the_step_and_is_named(tmp_path: Path) -> None:
    steps = execute(tmp_path, a_lost_model)

    assert [(step.name, step.error) for step in steps] == [
        ("forget", "forget ended well but did not write its declared output lost: write it to the path that the step is given")
    ]


def three_artifacts() -> None:
    write()


def test_artifacts_lie_in_s3_as_on_a_cluster_and_their_local_copies_go(tmp_path: Path) -> None:
    run_id = str(uuid4())

    run(build(tmp_path, three_artifacts), "", run_id, tmp_path / "run", Watcher())

    root = f"kfp/three-artifacts/{run_id}/write"
    found = objects(f"{artifacts()}/three-artifacts/{run_id}")
    (execution,) = {name.removeprefix(f"{root}/").split("/")[0] for name in found}
    assert found == {f"{root}/{execution}/{name}" for name in ("file", "folder/below/weights", "page", "executor-logs-0")}
    assert storage.read(f"s3://pipelines/{root}/{execution}/folder/below/weights") == b"many"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["run.log", "write.html", "write.log"]


def test_without_s3_the_step_fails_whose_outputs_cannot_be_kept_and_its_page_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")

    steps = execute(tmp_path, three_artifacts)

    assert len(steps) == 1
    assert steps[0].error.startswith("the outputs of write could not be copied to S3: ")
    assert "the S3 server at http://127.0.0.1:1 does not answer: start it" in steps[0].error
    assert (tmp_path / "run" / "write.html").read_text() == "<p>page</p>"


# Failures


def failing() -> None:
    with dsl.ExitHandler(last_words(), name="always"):
        say(text="never").after(fail(words="failed: the disk is on fire: call the fire brigade\nbad data: a\nbad data: b"))


def succeeding() -> None:
    with dsl.ExitHandler(last_words(), name="always"):
        say(text="well")


def dying() -> None:
    with dsl.ExitHandler(last_words(), name="always"):
        die()


def wordless() -> None:
    fail(words="no word that anyone knows")


def test_a_failed_step_gives_its_sentence_stops_what_follows_and_the_exit_handler_still_runs(tmp_path: Path) -> None:
    failed, handler = execute(tmp_path, failing)

    assert (failed.name, failed.summary) == ("fail", "")
    assert failed.error == "the disk is on fire: call the fire brigade\nbad data: a\nbad data: b"
    assert (handler.name, handler.summary) == ("last-words", "FAILED")


def test_after_success_the_exit_handler_hears_of_it(tmp_path: Path) -> None:
    steps = execute(tmp_path, succeeding)

    assert [(step.name, step.summary) for step in steps] == [("say", "well"), ("last-words", "SUCCEEDED")]


def test_a_killed_step_is_said_to_be_killed_and_the_exit_handler_still_runs(tmp_path: Path) -> None:
    killed, handler = execute(tmp_path, dying)

    assert killed.error == "die was killed (signal 9), perhaps for want of memory: look at the free memory, lower limits.memory, and run again"
    assert (handler.name, handler.summary) == ("last-words", "FAILED")


def test_a_step_that_left_no_word_is_named_with_its_exit_code(tmp_path: Path) -> None:
    (failed,) = execute(tmp_path, wordless)

    assert failed.error == "fail ended with exit code 1 and left no word why: see its log"
    assert "no word that anyone knows" in failed.log.read_text()


def test_a_pipeline_that_kfp_cannot_run_at_all_is_one_sentence(tmp_path: Path) -> None:
    package = build(tmp_path, wordless)
    package.write_text(package.read_text().replace("comp-fail", "comp-gone", 1))

    with pytest.raises(UserError, match=r"^the pipeline could not be run to its end: "):
        run(package, "", str(uuid4()), tmp_path / "run", Watcher())


# What a step is given, and what it leaves


def variables() -> None:
    show().set_env_variable("FROM_YAML", "yaml")


def test_the_variables_of_the_yaml_and_of_the_shell_reach_the_step_and_so_does_the_runs_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_SHELL", "shell")

    (shown,) = run(build(tmp_path, variables), "", "run-4711", tmp_path / "run", Watcher())

    assert shown.summary == "yaml shell run-4711"


def a_word() -> None:
    say(text="python3 is a word")


def test_a_step_runs_whatever_the_path_of_python_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "it's [my] bücher; $(touch touched)" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.chdir(tmp_path)

    (said,) = execute(tmp_path, a_word)

    assert (said.summary, said.error) == ("python3 is a word", "")
    assert not (tmp_path / "touched").exists()


def much_to_say() -> None:
    chatter()


def test_a_steps_whole_output_is_in_its_log_in_the_order_that_it_was_written(tmp_path: Path) -> None:
    (talked,) = execute(tmp_path, much_to_say)

    lines = [line for line in talked.log.read_text().splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(5000)]
    assert talked.log == tmp_path / "run" / "chatter.log"


def test_each_step_is_announced_when_it_begins_and_told_when_it_ended(tmp_path: Path) -> None:
    watcher = Watcher()

    steps = run(build(tmp_path, succeeding), "", str(uuid4()), tmp_path / "run", watcher)

    assert watcher.begun == [step.name for step in watcher.steps] == ["say", "last-words"]
    assert watcher.steps == steps
    assert all(0 < step.seconds < 60 for step in steps)


# The end from outside


def endless() -> None:
    with dsl.ExitHandler(last_words(), name="always"):
        hang()


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run, in a process of its own, whose step hangs and has started a process."""
    command = [sys.executable, "-c", RUN, str(build(tmp_path, endless)), str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: "hanging" in (tmp_path / "run" / "hang.log").read_text() if (tmp_path / "run" / "hang.log").exists() else False)
        yield process
        process.kill()


def wait_for(ready: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, id="Ctrl-C"), pytest.param(signal.SIGTERM, id="SIGTERM")])
def test_a_run_that_is_stopped_ends_its_step_with_all_that_the_step_started(
    hanging: subprocess.Popen[bytes], number: signal.Signals, tmp_path: Path
) -> None:
    family = psutil.Process(hanging.pid).children(recursive=True)
    names = {each.name() for each in family}

    hanging.send_signal(number)
    hanging.wait(timeout=20)

    assert "sleep" in names
    assert "taken back" in (tmp_path / "run" / "hang.log").read_text()
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert not (tmp_path / "run" / "last-words.log").exists()
