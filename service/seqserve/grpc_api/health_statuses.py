"""What health says of each name, for every port that answers, and who waits for it to change.

It may be used in any thread: the main port answers on the event loop, the health port in threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from grpc_health.v1 import health_pb2

Status = int  # health_pb2.HealthCheckResponse.ServingStatus, which has no stubs

SERVING: Status = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Status = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: Status = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
LIVENESS = "liveness"
OF_MODELS = "model/"
"""What names of models and of their versions begin with."""

Wake = Callable[[], object]


class Statuses:
    """A status for each name; `liveness` is SERVING from the start, other names are unknown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: dict[str, Status] = {LIVENESS: SERVING}
        self._watchers: set[Wake] = set()
        self._is_draining = False
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether watches are to end once they have told the last status."""
        return self._is_over

    def find(self, name: str) -> Status | None:
        """The status now; None of a name that nobody has published."""
        return self._by_name.get(name)

    def all(self) -> dict[str, Status]:
        """Every name with its status now."""
        with self._lock:
            return dict(self._by_name)

    def publish(self, name: str, status: Status) -> None:
        """Set a status; after a drain has begun nothing changes any more."""
        with self._lock:
            if not self._is_draining:
                self._by_name[name] = status
        self.wake()

    def withdraw(self, name: str) -> None:
        """Know a name no longer."""
        with self._lock:
            if not self._is_draining:
                self._by_name.pop(name, None)
        self.wake()

    def drain(self) -> None:
        """NOT_SERVING for everything but liveness, for good."""
        with self._lock:
            self._is_draining = True
            self._by_name = {name: SERVING if name == LIVENESS else NOT_SERVING for name in self._by_name}
        self.wake()

    def end_watches(self) -> None:
        """Let every watch end, also those that are still to come."""
        self._is_over = True
        self.wake()

    @contextmanager
    def waking(self, wake: Wake) -> Iterator[None]:
        """Call `wake` after each change, in the thread that makes it; it must return at once."""
        with self._lock:
            self._watchers.add(wake)
        try:
            yield
        finally:
            with self._lock:
                self._watchers.discard(wake)

    def wake(self) -> None:
        """Let every watch look again; for changes of what it is to be told."""
        with self._lock:
            watchers = list(self._watchers)
        for wake in watchers:
            wake()


class StatusesForProbes:
    """The same without models while `names_models` says so: to who asks then, they are unknown names."""

    def __init__(self, statuses: Statuses, names_models: Callable[[], bool]) -> None:
        self._statuses = statuses
        self._names_models = names_models

    @property
    def is_over(self) -> bool:
        """See Statuses."""
        return self._statuses.is_over

    def find(self, name: str) -> Status | None:
        """See Statuses."""
        return self._statuses.find(name) if self._is_told(name) else None

    def all(self) -> dict[str, Status]:
        """See Statuses."""
        return {name: status for name, status in self._statuses.all().items() if self._is_told(name)}

    def waking(self, wake: Wake) -> AbstractContextManager[None]:
        """See Statuses."""
        return self._statuses.waking(wake)

    def _is_told(self, name: str) -> bool:
        return not name.startswith(OF_MODELS) or self._names_models()


class Telling:
    """What one watch has told of a name: each status only once. What came and went between is left out."""

    def __init__(self, statuses: Statuses | StatusesForProbes, name: str) -> None:
        self._statuses = statuses
        self._name = name
        self._told: Status | None = None

    def news(self) -> Status | None:
        """The status now, SERVICE_UNKNOWN of an unknown name; None where it was told last."""
        found = self._statuses.find(self._name)
        status = SERVICE_UNKNOWN if found is None else found
        if status == self._told:
            return None
        self._told = status
        return status
