"""What every form of deployment keeps: the same tests for processes on a laptop and for Kubernetes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from core import registry
from core.mlflow_api import call
from core.registry import Version


class Refused(Exception):
    """A deployment that ended badly, with its sentence."""


class Deployment(Protocol):
    """A deployment under way, whose server has been started and is not ready yet."""

    def finish(self) -> None:
        """Wait for its end; Refused if that is a bad one."""

    def kill(self) -> None:
        """Kill the deployer, without a chance to clear up."""


class Bench(Protocol):
    """A use case that nothing serves yet, and one form of deployment."""

    @property
    def name(self) -> str:
        """The use case."""

    def publish(self, judged_against: str = "", right: bool = True) -> Version:
        """Register a version; one that is not right answers its golden rows otherwise than in training."""

    def deploy(self, version: str, reason: str = "") -> None:
        """Deploy a version, perhaps for a reason; Refused if that ends badly."""

    def begin(self, version: str) -> Deployment:
        """Begin to deploy a version."""

    def resume(self) -> str:
        """Put in order what is there, and return what is said about it; Refused if that ends badly."""

    def rollback(self) -> None:
        """Go back to the champion before; Refused if that ends badly."""

    def history(self) -> str:
        """What served when."""

    def status(self) -> str:
        """What serves."""

    def answering(self) -> str:
        """The version that answers requests, empty if none does."""

    def servers(self) -> set[str]:
        """All servers of the use case, whether they get requests or not: the same name is the same server."""

    def end_servers(self) -> None:
        """End them, as an accident would."""


class Contract:
    """The tests; each form of deployment has a subclass and a fixture `bench`."""

    def test_a_first_version_serves_and_becomes_champion(self, bench: Bench) -> None:
        first = bench.publish()

        bench.deploy(first.version)

        assert bench.answering() == champion(bench) == first.version
        assert len(bench.servers()) == 1

    def test_deploying_again_changes_nothing(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        before = bench.servers()

        bench.deploy(first.version)

        assert bench.servers() == before
        assert bench.answering() == first.version

    def test_the_next_version_replaces_the_first_and_is_rolled_back(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        before = bench.servers()
        second = bench.publish(judged_against=first.version)

        bench.deploy(second.version)

        assert bench.answering() == champion(bench) == second.version
        assert len(bench.servers()) == 1 and not bench.servers() & before
        found = registry.champion(bench.name)
        assert found and found.previous == first.version

        bench.rollback()

        assert bench.answering() == champion(bench) == first.version
        assert len(bench.servers()) == 1
        assert [line.split()[1] for line in bench.history().splitlines()[1:]] == [first.version, second.version, first.version]
        assert bench.status().startswith(f"{bench.name}: version {first.version} serves since 20")

    def test_a_version_with_other_golden_answers_is_refused_and_the_old_one_serves_on(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        before = bench.servers()
        second = bench.publish(judged_against=first.version, right=False)

        with pytest.raises(Refused, match=r"row 0: predict"):
            bench.deploy(second.version)

        assert bench.servers() == before
        assert bench.answering() == champion(bench) == first.version

    def test_a_first_version_that_is_refused_leaves_nothing(self, bench: Bench) -> None:
        first = bench.publish(right=False)

        with pytest.raises(Refused, match=r"row 0: predict"):
            bench.deploy(first.version)

        assert bench.servers() == set()
        assert champion(bench) == ""
        assert bench.status() == f"{bench.name}: no champion"

    def test_a_challenger_that_was_judged_against_another_champion_is_refused(self, bench: Bench) -> None:
        first, late = bench.publish(), bench.publish()
        bench.deploy(first.version)

        with pytest.raises(Refused, match=f"is version {first.version} now, the challenger was judged against none: run the pipeline again"):
            bench.deploy(late.version)

        assert bench.answering() == first.version

    def test_of_two_that_deploy_at_once_exactly_one_wins(self, bench: Bench) -> None:
        rivals = [bench.publish(), bench.publish()]

        def attempt(rival: Version) -> str:
            try:
                bench.deploy(rival.version)
            except Refused:
                return "refused"
            return rival.version

        with ThreadPoolExecutor() as pool:
            ended = list(pool.map(attempt, rivals))

        assert sorted(ended) == sorted([champion(bench), "refused"])
        assert bench.answering() == champion(bench)
        assert len(bench.servers()) == 1

    def test_the_champion_serves_again_after_its_servers_were_lost(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        before = bench.servers()
        bench.end_servers()

        bench.resume()

        assert bench.answering() == first.version
        assert not bench.servers() & before

    def test_what_a_killed_deployer_left_behind_is_removed_by_the_next(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        before = bench.servers()
        second, third = bench.publish(judged_against=first.version), bench.publish(judged_against=first.version)
        bench.begin(second.version).kill()
        assert bench.answering() == first.version
        left = bench.servers() - before
        assert left

        bench.deploy(third.version)

        assert bench.answering() == champion(bench) == third.version
        assert len(bench.servers()) == 1 and not bench.servers() & (left | before)

    def test_resume_removes_what_a_killed_deployer_left_behind(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        before = bench.servers()
        bench.begin(bench.publish(judged_against=first.version).version).kill()

        bench.resume()

        assert bench.servers() == before
        assert bench.answering() == champion(bench) == first.version

    def test_a_version_that_is_not_registered_is_refused(self, bench: Bench) -> None:
        with pytest.raises(Refused, match=f"{bench.name} has no version 7 in MLflow: run the pipeline again"):
            bench.deploy("7")

    def test_without_a_champion_nothing_is_started(self, bench: Bench) -> None:
        bench.publish()

        assert bench.resume() == f"{bench.name} has no champion, so nothing serves"
        assert bench.servers() == set()

    def test_when_the_alias_is_moved_while_a_server_starts_that_server_is_ended(self, bench: Bench) -> None:
        first, by_hand = bench.publish(), bench.publish()
        bench.deploy(first.version)
        before = bench.servers()
        late = bench.publish(judged_against=first.version)

        deploying = bench.begin(late.version)
        registry.set_alias(bench.name, "champion", by_hand.version)
        with pytest.raises(Refused, match=f"is version {by_hand.version} now, the challenger was judged against version {first.version}"):
            deploying.finish()

        assert champion(bench) == by_hand.version
        assert bench.servers() == before
        assert bench.answering() == first.version

    def test_a_champion_without_its_alias_serves_on_until_it_is_restored(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        second, late = bench.publish(judged_against=first.version), bench.publish()
        bench.deploy(second.version)
        before, history = bench.servers(), bench.history()
        call("DELETE", "registered-models/alias", {"name": bench.name, "alias": "champion"})

        for refused in (bench.resume, lambda: bench.deploy(late.version)):
            with pytest.raises(Refused, match=f"restore it with `mlops rollback {bench.name}`"):
                refused()
        assert f"mlops rollback {bench.name}" in bench.status()
        assert (bench.servers(), bench.answering()) == (before, second.version)

        bench.rollback()

        assert (bench.servers(), bench.answering(), champion(bench)) == (before, second.version, second.version)
        assert bench.history() == history
        bench.rollback()
        assert champion(bench) == first.version

    def test_a_champion_that_was_deleted_serves_on_until_another_is_chosen(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        before = bench.servers()
        call("DELETE", "model-versions/delete", {"name": bench.name, "version": first.version})
        second = bench.publish()

        for refused in (bench.resume, bench.rollback, lambda: bench.deploy(second.version)):
            with pytest.raises(Refused, match=f"version {first.version} was the champion of {bench.name}, but it is deleted"):
                refused()
        assert "What serves keeps serving" in bench.status()
        assert (bench.servers(), bench.answering()) == (before, first.version)

        bench.deploy(second.version, "version 1 is lost")

        assert (bench.answering(), champion(bench)) == (second.version, second.version)
        assert "version 1 is lost" in bench.history().splitlines()[1]

    def test_what_serves_is_left_alone_if_mlflow_does_not_know_it(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        before = bench.servers()
        call("POST", "registered-models/rename", {"name": bench.name, "new_name": f"{bench.name}-renamed"})

        for refused in (bench.resume, bench.rollback, bench.history):
            with pytest.raises(Refused, match="has no such version: correct MLFLOW_TRACKING_URI, or restore the registered model"):
                refused()
        other = bench.publish(right=False)
        with pytest.raises(Refused, match="has no such version"):
            bench.deploy(other.version)
        registry.set_alias(bench.name, "champion", other.version)
        with pytest.raises(Refused, match="has no such version"):
            bench.resume()

        assert "MLFLOW_TRACKING_URI" in bench.status()
        assert (bench.servers(), bench.answering()) == (before, first.version)

        bench.end_servers()  # such as by a restart of the machine
        for refused in (bench.resume, bench.rollback):
            with pytest.raises(Refused, match="has no such version"):
                refused()
        assert bench.servers() == set()

    def test_a_version_that_lost_its_verdict_needs_a_reason(self, bench: Bench) -> None:
        first = bench.publish()
        bench.deploy(first.version)
        lost = bench.publish(judged_against=first.version)
        registry.tag(lost, {"better": "false", "reason": "the champion stays"})

        with pytest.raises(Refused, match=r"was not found better \(the champion stays\).*--reason"):
            bench.deploy(lost.version)
        assert bench.answering() == first.version
        bench.deploy(lost.version, "the contract wants it")

        assert (bench.answering(), champion(bench)) == (lost.version, lost.version)
        assert "the contract wants it" in bench.history().splitlines()[1]


def champion(bench: Bench) -> str:
    """The version that the registry says should serve."""
    found = registry.champion(bench.name)
    return found.version if found else ""
