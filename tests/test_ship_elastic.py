"""The agent against a real Elasticsearch: keys that may only create, TLS, time-series metrics, a server that is killed."""

import os
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest
from test_ship import PINCHPOINT, agent, eventually, lines, ship

from pinchpoint.config import Elasticsearch
from pinchpoint.errors import StoreError
from pinchpoint.store.es.address import Access
from pinchpoint.store.es.door import Door

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


def environment(server, **more: object) -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.startswith("PINCHPOINT_")}
    if server.ca_file is not None:
        found["PINCHPOINT_ES_CA_FILE"] = str(server.ca_file)
    return found | {f"PINCHPOINT_ES_{name.upper()}": str(value) for name, value in more.items()}


def installed(server, namespace: str, tmp_path: Path, *more: object) -> str:
    """URL of the server with pinchpoint's templates for a namespace."""
    url = f"{server.url}?namespace={namespace}"
    password = tmp_path / "password"
    password.write_text(server.password)
    subprocess.run([PINCHPOINT, "setup", "elasticsearch", "--store", url, *map(str, more)], check=True, capture_output=True,
                   env=environment(server, username="elastic", password_file=password) if server.ca_file else environment(server))
    return url


def door(server) -> Door:
    access = Access.read(Elasticsearch(), environment(server, username="elastic", password=server.password) if server.ca_file else {})
    return Door(server.url, access)


def count(of: Door, stream: str) -> int:
    """Documents of a stream that can be found now; 0 where it is not there, or nothing answers."""
    try:
        of.call("POST", f"/{stream}/_refresh", expect=(404,))
        return int(of.call("GET", f"/{stream}/_count", expect=(404,)).get("count", 0))
    except StoreError:
        return 0


def test_a_key_that_may_only_create_is_enough(secure_elasticsearch, tmp_path):
    """Lines and metrics of the host arrive over TLS with the key of the shipper, each line once however often it is sent."""
    namespace = uuid4().hex[:12]
    url = installed(secure_elasticsearch, namespace, tmp_path, "--key-dir", tmp_path / "keys", "--keys", "shipper")
    [key] = (tmp_path / "keys").iterdir()
    (tmp_path / "app.log").write_text(lines(0, 3000))
    known = environment(secure_elasticsearch, api_key_file=key)
    first = ship(tmp_path, "--once", "--store", url, tmp_path / "app.log", env=known)
    for path in (tmp_path / "state").glob("outputs/*/offsets"):
        path.unlink()  # as after a crash that lost all progress
    second = ship(tmp_path, "--once", "--store", url, tmp_path / "app.log", env=known)

    server = door(secure_elasticsearch)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert count(server, f"logs-pinchpoint.log-{namespace}") == 3000
    assert count(server, f"metrics-pinchpoint.metric*-{namespace}") > 3
    assert not list((tmp_path / "state").glob("outputs/*/dead-letter.ndjson"))


def test_a_server_that_is_killed_twice_has_every_line_once(start_elasticsearch, tmp_path):
    """Kill -9 of the server and of the agent while lines come: nothing is lost, nothing is there twice."""
    server = start_elasticsearch()
    namespace = uuid4().hex[:12]
    url = installed(server, namespace, tmp_path, "--keys", "none")
    log = tmp_path / "app.log"
    log.touch()
    number = 0
    of = door(server)
    for _ in range(2):
        with agent(tmp_path, "--store", url, log):
            for _ in range(10):
                with log.open("a") as file:
                    file.write(lines(number, number + 500))
                number += 500
                time.sleep(0.1)
            server.kill()
        server.start()
    with agent(tmp_path, "--store", url, log) as one:
        assert eventually(lambda: count(of, f"logs-pinchpoint.log-{namespace}") >= number, 120)
        assert one.end() == 0

    assert count(of, f"logs-pinchpoint.log-{namespace}") == number
