"""Fixtures for tests against real servers: those that `make services` started.

Where they were not started the test is skipped and says so, since they take minutes. With PINCHPOINT_REQUIRE_SERVICES=1 a server that does
not run is started, and one that this machine cannot have fails the test. Servers are shared by all tests of a run and keep what was
written: give each test names of its own (`logs-pinchpoint.test_<uuid>-default`).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from opensearch_like import OpenSearchLike
from services.servers import ElasticsearchServer, S3Server, Server, ToxiproxyServer, Unavailable, addresses, make, quick_folder, running

# read once: the tests' own environment has no variable of ours
REQUIRED = os.environ.get("PINCHPOINT_REQUIRE_SERVICES") == "1"

START_TIMEOUT_S = 300
"""A test that starts servers may have to fetch them, on a machine that others keep busy."""

VERSIONS = ("9.2.0", "8.19.5")
"""The versions of Elasticsearch that we answer for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests against services the time that starting these takes."""
    for item in items:
        if item.get_closest_marker("service") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(START_TIMEOUT_S))


def unavailable(what: str, reason: object) -> NoReturn:
    """Skip the test, or fail it where services are required."""
    if REQUIRED:
        pytest.fail(f"{what} is required (PINCHPOINT_REQUIRE_SERVICES=1), but {reason}", pytrace=False)
    pytest.skip(f"no {what}: {reason}")


NOT_STARTED = Unavailable("it was not started. Start what the tests talk to with: make services")


class Pool:
    """Servers by name: found running or started once, and ended with the run when started here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._servers: dict[str, Server | Unavailable] = {}
        self._own: list[Server] = []

    def get(self, name: str) -> Any:
        """A running server; skips the test where it cannot be had.

        Raises: StartFailed.
        """
        if name not in self._servers:
            self._servers[name] = running(name) or self._start(name)
        server = self._servers[name]
        if isinstance(server, Unavailable):
            unavailable(name, server)
        return server

    def _start(self, name: str) -> Server | Unavailable:
        if not REQUIRED:
            return NOT_STARTED
        server = make(name, self.folder / name)
        try:
            server.start()
        except Unavailable as error:
            return error
        self._own.append(server)
        return server

    def close(self) -> None:
        """End what was started here."""
        for server in self._own:
            server.remove()


@pytest.fixture(scope="session")
def service_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """The servers of this run; tests ask for one by the fixtures below."""
    folder = quick_folder(f"run-{os.getpid()}", tmp_path_factory.mktemp("services"))
    pool = Pool(folder)
    yield pool
    pool.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def elasticsearch(service_pool: Pool, request: pytest.FixtureRequest) -> ElasticsearchServer:
    """Elasticsearch 9.2.0 over plain HTTP; another with `@pytest.mark.parametrize("elasticsearch", VERSIONS, indirect=True)`."""
    return service_pool.get(f"elasticsearch-{getattr(request, 'param', VERSIONS[0])}")


@pytest.fixture(scope="session")
def secure_elasticsearch(service_pool: Pool) -> ElasticsearchServer:
    """Elasticsearch 9.2.0 over HTTPS with users and API keys: `url ca_file user password`."""
    return service_pool.get("elasticsearch-9.2.0-secure")


@pytest.fixture(scope="session")
def s3(service_pool: Pool) -> S3Server:
    """Object storage; clients find it by the variables in `s3.environment`."""
    return service_pool.get("s3")


@pytest.fixture
def s3_bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The `s3://` URL of an empty bucket, with the environment set by which pyarrow reaches it."""
    import pyarrow.fs as pafs

    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{uuid.uuid4()}"
    storage, _ = pafs.FileSystem.from_uri(f"s3://{bucket}?allow_bucket_creation=true")
    storage.create_dir(bucket)
    return f"s3://{bucket}"


@pytest.fixture(scope="session")
def toxiproxy(service_pool: Pool) -> ToxiproxyServer:
    """A proxy that delays, cuts and resets; `url` is that of its API."""
    return service_pool.get("toxiproxy")


@pytest.fixture
def start_elasticsearch(service_pool: Pool) -> Iterator[Callable[..., ElasticsearchServer]]:
    """Start a server for this test alone, to kill, restart or misconfigure: `start_elasticsearch(**{"http.max_content_length": "1mb"})`.

    Takes `version`, `secure` and `heap` of ElasticsearchServer; everything else is a setting of elasticsearch.yml.
    """
    servers: list[ElasticsearchServer] = []
    if not REQUIRED and not addresses():
        unavailable("Elasticsearch", NOT_STARTED)

    def start(version: str = VERSIONS[0], secure: bool = False, heap: str = "512m", **settings: Any) -> ElasticsearchServer:
        server = ElasticsearchServer(service_pool.folder / f"own-{uuid.uuid4().hex[:8]}", version=version, secure=secure, heap=heap,
                                     settings=settings)
        servers.append(server)
        try:
            server.start()
        except Unavailable as error:
            unavailable(f"Elasticsearch {version}", error)
        return server

    yield start
    for server in servers:
        server.remove()


@pytest.fixture(scope="session")
def client9_path() -> Path:
    """A folder with the Elasticsearch client of major 9, to be the PYTHONPATH of a process: ours has the locked one of major 8."""
    cache = Path(os.environ.get("CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinchpoint")
    folder = cache / "elasticsearch-client-9"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=cache))
        pip = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(part),
                              "elasticsearch>=9,<10"], capture_output=True, text=True)
        if pip.returncode:
            shutil.rmtree(part)
            unavailable("Elasticsearch client 9", f"pip cannot fetch it: {(pip.stderr.strip().splitlines() or ['no word'])[-1]}")
        try:
            part.rename(folder)
        except OSError:  # another run was quicker
            shutil.rmtree(part)
    return folder


@pytest.fixture
def opensearch_like() -> Iterator[OpenSearchLike]:
    """A server that looks like OpenSearch to a client: `opensearch_like.url`."""
    server = OpenSearchLike()
    yield server
    server.close()
