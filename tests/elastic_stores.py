"""Empty stores on real Elasticsearch servers: a namespace is made once for each server and emptied after each test."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from services.servers import ElasticsearchServer
from services_fixtures import Pool

from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.config import Config
from pinchpoint.store.elastic import ElasticStore
from pinchpoint.store.es import names
from pinchpoint.store.es.address import Access
from pinchpoint.store.es.deleting import delete
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.templates import install

_NAMESPACES: dict[str, str] = {}


def store_at(server: ElasticsearchServer) -> ElasticStore:
    """A store with everything set up: making its indices takes seconds on a busy machine, so it is the same each time."""
    door = Door(server.url, Access())
    if server.url not in _NAMESPACES:
        _NAMESPACES[server.url] = f"test_{uuid.uuid4().hex[:12]}"
        install(door, _NAMESPACES[server.url], Config().retention.days)
    return ElasticStore(f"{server.url}?namespace={_NAMESPACES[server.url]}", door=door)


def empty(store: ElasticStore) -> None:
    """Delete every document of a store, and what this host knows of its deliveries."""
    namespace = store.url.partition("namespace=")[2]
    for name in (*names.ALL_STREAMS, *names.ALL_INDICES):
        delete(store.door, f"{name}-{namespace}", {"match_all": {}}, SYSTEM_CLOCK)


@pytest.fixture
def elastic_store(service_pool: Pool) -> Iterator[Callable[[str], ElasticStore]]:
    """An empty store on a server of a version: `elastic_store("9.2.0")`."""
    used: list[ElasticStore] = []

    def make(version: str = "9.2.0") -> ElasticStore:
        used.append(store_at(service_pool.get(f"elasticsearch-{version}")))
        return used[-1]

    yield make
    for store in used:
        empty(store)
