"""Every change that was acknowledged, and whether the servers have each of them once.

Of each resource the ledger knows the operations in their order. The server's own list of a
resource's operations must be exactly that: one that is missing was lost, one that is more was
applied twice or never acknowledged. And every change, repeated under its idempotency key, must be
answered with the operation that it had.
"""

import threading
from dataclasses import dataclass, field

from connection import Wrong


@dataclass(frozen=True)
class Change:
    """A change as it was asked for, and the operation that it was answered with."""

    service: object
    method: str
    request: object
    key: str
    operation_id: str

    def __str__(self):
        return f"{type(self.request).__name__} ({self.operation_id})"


@dataclass
class Ledger:
    """What was acknowledged, in order."""

    changes: list = field(default_factory=list)
    histories: dict = field(default_factory=dict)
    listers: dict = field(default_factory=dict)

    def __post_init__(self):
        self._lock = threading.Lock()

    def acknowledged(self, change, resources):
        """A change was answered; it belongs to the histories of these resources."""
        with self._lock:
            self.changes.append(change)
            for resource in resources:
                self.histories.setdefault(resource, []).append(change.operation_id)

    def follow(self, resource, lister):
        """From now on the resource is there: `lister(services, size)` lists its operations."""
        with self._lock:
            self.listers[resource] = lister

    def gone(self, resource):
        """The resource was deleted, and its operations are not listed any more."""
        with self._lock:
            del self.listers[resource]

    def check(self, services, where):
        """Compares every resource's operations with what one node lists; returns how many."""
        compared = 0
        for resource, lister in self.listers.items():
            acknowledged = self.histories.get(resource, [])
            # About three pages of each, so that tokens are followed as well.
            listed = lister(services, max(2, len(acknowledged) // 2))
            judge(resource, acknowledged, [operation.id for operation in listed], where)
            compared += len(acknowledged)
        return compared

    def repeat(self):
        """Sends every change again under its key; returns how many there were."""
        for change in self.changes:
            again = change.service.repeat(change.method, change.request, change.key)
            if again.id != change.operation_id:
                raise Wrong(f"{change}, repeated under its key, is answered with {again.id}")
        return len(self.changes)


def judge(resource, acknowledged, listed, where):
    """Whether a list of operations, newest first, is what was acknowledged, oldest first."""
    lost = [operation for operation in acknowledged if operation not in listed]
    if lost:
        raise Wrong(f"{where}: {resource} has lost {', '.join(lost)}")
    more = [operation for operation in listed if operation not in acknowledged]
    if more:
        raise Wrong(f"{where}: {resource} has {', '.join(more)}, which nobody was told of")
    if listed != acknowledged[::-1]:
        raise Wrong(f"{where}: {resource} lists its {len(listed)} operations in another order")
