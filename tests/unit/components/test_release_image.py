"""Which image serves a version: MLflow has no say in it."""

from __future__ import annotations

import pytest

from components.deploy.cluster import images
from components.deploy.cluster.images import Image
from core.errors import UserError
from core.registry import Version

VERSION = Version("flights", "7", "s3://models/flights/ab.zip", "sha256:ab", "6")
OWN, OLD = "example.org:5000/team/mlops:2", "example.org:5000/team/mlops@sha256:1f"


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deploy step's image."""
    monkeypatch.setenv("IMAGE", OWN)


@pytest.mark.parametrize(("before", "image"), [pytest.param("", OWN, id="new"), pytest.param(OLD, OLD, id="served before")])
def test_version_runs_the_image_it_served_with_else_that_of_the_deploy_step(before: str, image: str) -> None:
    assert images.choose(VERSION, before, ()) == image


@pytest.mark.parametrize("foreign", ["example.org:5000/team/mlops-evil:2", "example.org/team/mlops:2", "mlops", "example.org:5000/team/mlops/x:2"])
def test_image_of_another_repository_is_refused(foreign: str) -> None:
    with pytest.raises(UserError) as refused:
        images.choose(VERSION, foreign, ())

    assert str(refused.value).startswith(
        f"version 7 of flights would run the image {foreign}, but SERVING_IMAGES allows only images of example.org:5000/team/mlops: "
    )


def test_setting_replaces_the_repository_of_the_deploy_step() -> None:
    allowed = ("example.org/a", "example.org/b")

    assert images.choose(VERSION, "example.org/b:1", allowed) == "example.org/b:1"
    with pytest.raises(UserError, match=r"SERVING_IMAGES allows only images of example\.org/a, example\.org/b: deploy with"):
        images.choose(VERSION, "", allowed)


def test_deploy_step_without_an_image_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGE")

    with pytest.raises(UserError, match="no image can serve version 7 of flights: set IMAGE"):
        images.choose(VERSION, "", ())


def service(annotations: dict[str, str] | None = None) -> dict[str, object]:
    return {"metadata": {"name": "flights"} | ({"annotations": annotations} if annotations else {})}


def test_service_knows_the_images_of_the_last_versions_that_served() -> None:
    known: dict[str, str] = {}
    for number in range(1, images.KEPT + 2):
        known = images.noted(service(known), str(number), Image(f"image:{number}", "sha256:ab"))
    known = images.noted(service(known), "2", Image(OLD, "sha256:ab"))  # a rollback
    known = images.noted(service(known), "99", Image(OWN, "sha256:ab"))

    def served(number: str, digest: str = "sha256:ab") -> str:
        return images.served(service(known), Version("flights", number, "", digest, ""))

    assert (served("2"), served("99"), served("4")) == (OLD, OWN, "image:4")
    assert (served("1"), served("3"), served("100"), served("99", "sha256:another")) == ("", "", "", "")


@pytest.mark.parametrize("text", ["{", "[]", '{"7": 1}', '{"7": ["a"]}'])
def test_damaged_note_counts_as_none(text: str) -> None:
    assert images.served(service({images.SERVED: text}), VERSION) == ""
