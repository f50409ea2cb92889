"""`mlops run` as a user sees it: from the data to a served model, and what is left for later."""

import json
import re
import subprocess
from typing import NamedTuple

import pytest
import requests

from core import storage
from core.configfile import load
from core.configtext import parse
from local.platform import Platform
from tests.e2e.command import LINE, ORDER, Ended, ask, below, forget, mlflow_run, mlops, once

SLOW = pytest.mark.slow  # regression, an override and a failed run: half a minute more
pytestmark = pytest.mark.xdist_group("run")  # the other worker need not wait for these runs
OUTPUTS = {
    "extract": {"tables", "summary"},
    "validate": {"data_report", "summary"},
    "transform": {"table", "summary"},
    "train": {"model", "trials", "summary"},
    "evaluate": {"metrics", "curves", "evaluation", "golden", "summary"},
    "register": {"registered_model", "summary"},
    "deploy": {"endpoint", "summary"},
    "report": {"run_report"},
}


class Story(NamedTuple):
    first: Ended
    second: Ended


@pytest.fixture(scope="module")
def wine(platform: Platform) -> Story:
    """The first run of a use case ever, and the same again."""

    def make() -> list[Ended]:
        forget("wine")
        return [mlops("run", "wine"), mlops("run", "wine")]

    return Story(*once("wine", make))


@pytest.fixture(scope="module")
def diabetes(platform: Platform) -> Story:
    """A run with another number of trials, and one whose data are missing."""

    def make() -> list[Ended]:
        forget("diabetes")
        first = mlops("run", "diabetes", "--set", "train.max_trials=3")
        return [first, mlops("run", "diabetes", "--set", "sources.patients=s3://misspelt/diabetes.csv")]

    return Story(*once("diabetes", make))


def parent(ended: Ended) -> str:
    return ended.link("MLflow").rpartition("/")[2]


def curl(ended: Ended) -> str:
    return next(line for line in ended.out.splitlines() if line.startswith("curl "))


# The terminal


def test_the_first_run_shows_a_line_a_step_then_the_decision_and_the_addresses(wine: Story) -> None:
    shown = wine.first

    assert (shown.code, shown.err) == (0, "")
    assert list(shown.steps) == ORDER
    assert {mark for mark, *_ in LINE.findall(shown.out)} == {"✓"}
    assert all(shown.steps.values())
    assert shown.steps["extract"] == "178 wine"
    figures = r"log loss \d\.\d{4} against \d\.\d{4} of a dummy, improvement \+\d\.\d{4} \[\+\d\.\d{4}, \+\d\.\d{4}\] at 95% confidence"
    assert re.search(rf"^the challenger becomes the first champion: {figures} \(\d+ s\)$", shown.out, re.MULTILINE)
    assert requests.get(f"{shown.link('server')}/v2/models/wine/versions/1/ready", timeout=10).ok
    assert requests.get(shown.link("MLflow"), timeout=10).ok
    assert shown.report.is_file()


def test_a_second_run_ends_well_with_the_champion_that_stays_and_the_figures_why(wine: Story) -> None:
    shown = wine.second

    assert (shown.code, shown.err) == (0, "")
    assert list(shown.steps) == [*ORDER[: ORDER.index("register")], "serve", "report"]
    assert shown.steps["serve"] == f"version 1 serves at {shown.link('server')}"
    figures = r"log loss (\d\.\d{4}) against \1 of version 1, improvement \+0\.0000 \[\+0\.0000, \+0\.0000\] at 95% confidence"
    assert re.search(rf"^the champion stays: {figures} \(\d+ s\)$", shown.out, re.MULTILINE)
    assert shown.link("server") == wine.first.link("server")


@pytest.mark.parametrize(
    ("story", "answers"),
    [
        pytest.param("wine", r"barolo|grignolino|barbera", id="wine"),
        pytest.param("diabetes", r"\d+\.\d+", id="diabetes", marks=SLOW),
    ],
)
def test_the_printed_curl_line_works_when_pasted_into_a_shell(request: pytest.FixtureRequest, story: str, answers: str) -> None:
    shown: Ended = request.getfixturevalue(story).first

    answer = subprocess.run(curl(shown), shell=True, capture_output=True, text=True, check=True)  # noqa: S602  (that is the point)

    (prediction,) = json.loads(answer.stdout)["predictions"]
    assert re.fullmatch(answers, str(prediction))


# What is left


def test_artifacts_lie_in_s3_where_a_cluster_has_them(wine: Story) -> None:
    _, tags, _ = mlflow_run(parent(wine.first))
    prefix = f"kfp/wine-training/{tags['kfp.pipeline_run_id']}/"

    found = [str(item.object_name) for item in storage.client().list_objects("pipelines", prefix, recursive=True)]

    places = [re.fullmatch(rf"{prefix}(\w+)/([0-9a-f-]{{36}})/([\w-]+)(/.+)?", name) for name in found]
    assert {(place[1], place[3]) for place in places if place} == {
        (step, output) for step, outputs in OUTPUTS.items() for output in {*outputs, "executor-logs-0"}
    }
    assert all(places)


def test_mlflow_has_the_run_with_its_steps_below_it_and_the_trials_below_train(wine: Story) -> None:
    steps = below(parent(wine.first))
    trials = below(next(run["info"]["run_id"] for run in steps if run["info"]["run_name"] == "train"))

    assert [run["info"]["run_name"] for run in steps] == ORDER[:-1]
    assert {run["info"]["status"] for run in steps + trials} == {"FINISHED"}
    assert mlflow_run(parent(wine.first))[0] == "FINISHED"
    assert [re.sub(r"^trial-\d-", "", run["info"]["run_name"]) for run in trials][:2] == ["logistic-regression", "random-forest"]
    assert len(trials) == 4


def test_what_repeats_a_run_is_among_the_tags_of_its_mlflow_run(wine: Story) -> None:
    _, tags, _ = mlflow_run(parent(wine.first))

    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", tags["git.sha"])
    assert re.fullmatch(r"[0-9a-f]{64}", tags["data.sha256"])
    assert tags["image"]
    assert tags["seed"] == "3"
    assert parse(tags["config"]) == load("wine")
    assert tags["outcome"].startswith("the challenger becomes the first champion: ")


def test_the_same_input_and_seed_give_the_same_metrics(wine: Story) -> None:
    measured = [{run["info"]["run_name"]: mlflow_run(run["info"]["run_id"])[2] for run in below(parent(ended))} for ended in wine]

    first, second = ({(step, name): value for step, metrics in run.items() for name, value in metrics.items()} for run in measured)
    kept = {key for key in first if key[1].startswith(("validation.", "test.", "rows.", "trials"))}
    assert len(kept) > 6
    assert {key: first[key] for key in kept} == {key: second[key] for key in kept}
    assert mlflow_run(parent(wine.first))[1]["data.sha256"] == mlflow_run(parent(wine.second))[1]["data.sha256"]


# The report


@pytest.mark.parametrize(
    ("story", "number", "drawings"),
    [
        pytest.param("wine", 0, 1, id="first champion"),
        pytest.param("wine", 1, 1, id="champion stays"),
        pytest.param("diabetes", 0, 1, id="regression", marks=SLOW),
        pytest.param("diabetes", 1, 0, id="failed", marks=SLOW),
    ],
)
def test_the_report_loads_nothing_from_elsewhere_and_has_its_plots(request: pytest.FixtureRequest, story: str, number: int, drawings: int) -> None:
    page = request.getfixturevalue(story)[number].report.read_text()

    assert not re.search(r"(?:src|href|data|action)\s*=\s*[\"']?(?!#|data:)[^\"' >]+|url\(\s*[\"']?(?!#|data:)|@import|<script|<link|<iframe", page)
    assert page.count("<svg") >= drawings


def test_the_report_says_what_was_decided_what_was_measured_and_what_each_step_cost(wine: Story) -> None:
    page = wine.first.report.read_text()

    text = re.sub(r"<[^>]+>", " ", page)
    assert "The run succeeded." in text
    assert "the challenger becomes the first champion: log loss" in text.lower()
    assert "version 1 serves at http://127.0.0.1:" in text
    cells = (
        r"<td>(\w+)</td><td>[^<]+</td>",
        r"<td class=.n.>(\d+\.\d)</td>.*?",
        r"<td class=.n wide.>(\d+\.\d)</td>",
        r"<td class=.n.>(\d+) MiB</td>",
    )
    rows = re.findall(r"\s*".join(cells), page)
    assert [row[0] for row in rows] == ORDER[:-1]
    assert all(float(seconds) > 0 and float(cpu) > 0 and int(memory) > 30 for _, seconds, cpu, memory in rows)
    assert re.search(r"data\.sha256\s+[0-9a-f]{64}", text)


# Another configuration for one run


@SLOW
def test_an_override_holds_for_its_run_alone(diabetes: Story) -> None:
    train = next(run for run in below(parent(diabetes.first)) if run["info"]["run_name"] == "train")

    assert diabetes.first.code == 0
    assert diabetes.first.steps["train"].endswith("best of 3 trials")
    assert len(below(train["info"]["run_id"])) == 3
    assert parse(mlflow_run(parent(diabetes.first))[1]["config"]).train.max_trials == 3
    assert load("diabetes").train.max_trials == 4


def test_a_steps_log_is_what_the_step_says(wine: Story) -> None:
    logs = {step: (wine.first.folder / f"{step}.log").read_text().splitlines() for step in ORDER}

    assert max(len(lines) for lines in logs.values()) <= 8  # of register; train has a line a trial
    assert [lines[-1].partition(":")[0] for lines in logs.values()] == ["done"] * len(ORDER)
    assert not any("INFO" in line or "executor_input" in line for lines in logs.values() for line in lines)


# A run that fails


@SLOW
def test_a_bucket_that_is_not_there_fails_the_run_in_one_sentence(diabetes: Story) -> None:
    shown = diabetes.second
    sentence = "s3://misspelt/diabetes.csv: bucket misspelt does not exist: create it or correct the address"

    assert (shown.code, shown.err) == (1, "")
    assert list(shown.steps) == ["extract", "report"]
    assert shown.steps["extract"] == sentence
    assert re.search(rf"^failed after \d+ s: extract: {re.escape(sentence)}$", shown.out, re.MULTILINE)
    assert "Traceback" not in shown.out
    assert f"log  {shown.folder}/extract.log" in shown.out


@SLOW
def test_after_a_failed_run_the_report_says_why_mlflow_knows_and_the_old_model_serves_on(diabetes: Story) -> None:
    page = diabetes.second.report.read_text()
    row = json.loads(re.findall(r"'(\{.*\})'", curl(diabetes.first))[0])["dataframe_records"][0]

    assert "The run failed." in page
    assert "extract failed: s3://misspelt/diabetes.csv: bucket misspelt does not exist" in page.lower()
    assert len(ask(diabetes.first.link("server"), row)) == 1
