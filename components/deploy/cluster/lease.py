"""One deployment of a use case at a time: a Lease in the namespace of the models, renewed while its holder lives."""

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from core import cluster
from core.errors import Conflict, UserError

DURATION = 15  # seconds without a renewal after which the holder counts as dead
RENEWAL = 4.0


class Lease:
    """The right to change what serves a use case."""

    def __init__(self, namespace: str, name: str) -> None:
        self.namespace, self.name = namespace, name
        self.holder = f"{os.environ.get('HOSTNAME', 'host')}-{uuid.uuid4().hex[:8]}"
        self._lost = threading.Event()

    def require(self) -> None:
        """Make sure that it is still ours.

        Raises:
            Conflict: Another deployment has taken it, as this one did not renew it in time.
        """
        if self._lost.is_set():
            raise Conflict(f"another deployment of {self.name} has taken over, as this one stood still for too long: run again")

    def acquire(self, patience: float) -> None:
        """Take it, once its present holder has ended or died.

        Raises:
            Conflict: The present holder is still at work after so many seconds.
        """
        end, told = time.monotonic() + patience, ""
        seen, since = None, time.monotonic()
        while True:
            found = self._find()
            if found is None:
                if self._take(None):
                    return
                continue
            mark = (found["spec"].get("holderIdentity"), found["spec"].get("renewTime"))
            if mark != seen:  # by our own clock: the clocks of two nodes may differ
                seen, since = mark, time.monotonic()
            if mark[0] == self.holder or (time.monotonic() - since > DURATION and self._take(found)):
                return
            if mark[0] != told:
                told = str(mark[0])
                print(f"another deployment of {self.name} is under way ({told}): waiting for it", flush=True)
            if time.monotonic() > end:
                raise Conflict(f"another deployment of {self.name} ({told}) is still under way: wait for its end, then run again")
            time.sleep(1)

    def release(self) -> None:
        """Give it back, unless another one has it by now."""
        found = self._find()
        if found and found["spec"].get("holderIdentity") == self.holder:
            cluster.delete("Lease", self.namespace, self.name)

    def renew(self) -> None:
        """Say that the holder lives; notice when another one has taken it."""
        found = self._find()
        if found is None or found["spec"].get("holderIdentity") != self.holder or not self._take(found):
            self._lost.set()

    def _find(self) -> cluster.Object | None:
        try:
            return cluster.get("Lease", self.namespace, self.name)
        except cluster.Gone:
            return None

    def _take(self, found: cluster.Object | None) -> bool:
        """Write our name; False when somebody else was faster."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.holder, "leaseDurationSeconds": DURATION, "renewTime": now}
        metadata = {"namespace": self.namespace, "name": self.name}
        if found:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        try:
            cluster.replace(body) if found else cluster.create(body)
        except (Conflict, cluster.Gone):
            return False
        return True


@contextmanager
def held(namespace: str, name: str, patience: float) -> Iterator[Lease]:
    """Hold the Lease of a use case."""
    lease, ended = Lease(namespace, name), threading.Event()
    lease.acquire(patience)
    thread = threading.Thread(target=_keep, args=(lease, ended), daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        ended.set()
        thread.join()
        lease.release()


def _keep(lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL):
        try:
            lease.renew()
        except UserError:
            continue  # the API server is away: for us as for everybody else
