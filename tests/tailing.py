"""What the tests of the tailer share: an agent's tail that can be killed and started again, and what came out of it."""

import json
from collections import Counter

from pinchpoint.clock import HeldClock
from shippers.tail import FileSet, Registry, Survey, Tail


class Agent:
    """A tail of one or more outputs over a state directory; `kill` forgets all that is not on disk."""

    def __init__(self, folder, *paths, clock=None, outputs=1, **options):
        self.folder, self.clock = folder, clock or HeldClock()
        self.sets = [path if isinstance(path, FileSet) else FileSet((str(path),)) for path in paths]
        self.outputs, self.options = outputs, options
        self.documents = [[] for _ in range(outputs)]
        self.start()

    def start(self):
        self.registry = Registry(self.folder / "registry", self.clock)
        self.survey = Survey(self.sets, self.registry, self.clock)
        constants = {"host.name": "node-1"}
        self.tails = [Tail(self.folder / f"output-{number}", self.survey, self.registry, self.clock, constants, **self.options)
                      for number in range(self.outputs)]

    @property
    def tail(self):
        return self.tails[0]

    def take(self, output=0, most_bytes=1 << 20):
        """One batch, as documents; its token is kept as `token`."""
        batch = self.tails[output].take(most_bytes)
        if batch is None:
            return []
        self.token = batch.token
        documents = [json.loads(item.document) for item in batch.items]
        for item, document in zip(batch.items, documents, strict=True):
            assert (item.kind, item.id) == ("log", document["event.id"])
        self.documents[output] += documents
        return documents

    def run(self, seconds=2.0, output=0, settle=True, most_bytes=1 << 20):
        """Let time pass as a lane does: take and settle each 250 ms; returns the new documents."""
        found = []
        for _ in range(int(seconds * 4) + 1):
            while documents := self.take(output, most_bytes):
                found += documents
                if settle:
                    self.tails[output].settled(self.token)
            self.clock.advance(0.25)
        return found

    def kill(self):
        """What a SIGKILL leaves: the descriptors are gone, nothing was written at the end."""
        for tail in self.tails:
            for one in tail._followed.values():
                one.close()
            tail._offsets.close()
        self.registry.close()

    def restart(self):
        self.kill()
        self.start()

    def counters(self, output=0):
        return {name.removeprefix("tail."): value for name, value in self.tails[output].counters().items() if value}


def messages(documents):
    return [document.get("message") for document in documents]


def unique(documents):
    """Messages by id: what a store holds that takes each id once."""
    found = {}
    for document in documents:
        before = found.setdefault(document["event.id"], document)
        assert before.get("message") == document.get("message"), "two lines were given one id"
        assert before["@timestamp"] == document["@timestamp"], "a line was given another time when it was read again"
    return Counter(document.get("message") for document in found.values())
