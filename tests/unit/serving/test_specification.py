"""The protocols' specifications, point by point, against a running server."""

from __future__ import annotations

import pytest

from docs import protocols
from tests.unit.serving import web
from tests.unit.serving.bodies import parted
from tests.unit.serving.servers import Running
from tests.unit.serving.specification import PROTOCOLS, Point, fits, sent

pytestmark = pytest.mark.one_engine

POINTS = [pytest.param(point, id=f"{name}: {point.says}") for name, points in PROTOCOLS.items() for point in points]


@pytest.mark.parametrize("below", ["", "/wine"], ids=["plain", "below the name"])
@pytest.mark.parametrize("point", POINTS)
def test_a_point_of_the_specification(wine_server: Running, point: Point, below: str) -> None:
    content, headers = sent(point) if point.sends is not None else (None, {})

    response = web.request(point.method, wine_server.url + below + point.path, content=content, headers=headers)

    assert response.status_code == point.status, response.text
    assert {name: response.headers[name] for name in point.answered} == point.answered
    if point.gives is ...:
        return
    document = response.json() if "inference-header-content-length" not in response.headers else parted(response.content, response.headers)[0]
    assert fits(point.gives, document), document
    assert not document.keys() & set(point.without)


def test_the_page_shows_each_point() -> None:
    written = protocols.PAGE.read_text()

    assert protocols.page(written) == written, "run: .venv/bin/python -m docs.protocols"
    assert all(point.says in written for points in PROTOCOLS.values() for point in points)
