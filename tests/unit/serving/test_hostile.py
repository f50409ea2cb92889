"""The attacks of `benchmarks.serving.hostile`, in their quick form, on a server of 512Mi."""

from __future__ import annotations

from benchmarks.serving.attacks import ATTACKS, PATIENCE, Target
from benchmarks.serving.hostile import MEMORY, attack
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.servers import Launcher

ANSWERED = {
    "[[[]]]": "413",
    '{"":0}': "413",
    "[],": "413",
    "{},": "413",
    "[0],": "413",
    "lines, CSV": "413",
    "commas, CSV": "413",
    "quotes": "400",
    "names": "400",
    "gigabyte": "413",
}


def test_no_attack_exhausts_the_memory_or_silences_the_server(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx)).wait_until_ready()
    target = Target(*server.address, server.process.pid, "wine")

    results = {result.attack: result for result in attack(target, is_quick=True)}
    print(*results.values(), sep="\n")

    assert results.keys() == ATTACKS.keys()
    assert server.process.poll() is None
    assert "Traceback" not in server.text()
    assert {name: result for name, result in results.items() if result.peak_mb * 1e6 > MEMORY} == {}
    assert {name: result for name, result in results.items() if result.worst_ms > 1000 * PATIENCE / 10} == {}
    for part, status in ANSWERED.items():
        assert [result.outcome for name, result in results.items() if part in name] == [status]
