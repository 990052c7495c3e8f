"""What `make services` and `make services-stop` call: start the servers that tests need, and end them."""

import argparse
import concurrent.futures
import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator

from services.servers import NAMES, SHARED, ElasticsearchServer, S3Server, Server, StartFailed, Unavailable, make, running, shared_folder


def main() -> int:
    """Exit status 0 when what can be had here is running; 1 when a server failed, or is required and cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m services", description=__doc__)
    parser.add_argument("do", choices=["start", "stop"])
    parser.add_argument("--require", action="store_true", help="a server that cannot be had is a failure")
    options = parser.parse_args()
    with alone():
        return stop() if options.do == "stop" else start(options.require)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other start or stop is under way."""
    SHARED.mkdir(mode=0o700, exist_ok=True)
    with (SHARED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start(require: bool) -> int:
    """Start what does not run, write all addresses, print a line for each server."""
    # two at a time: a starting Elasticsearch keeps a core busy
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = dict(zip(NAMES, pool.map(found_or_started, NAMES), strict=True))
    servers = {name: result for name, result in results.items() if isinstance(result, Server)}
    part = SHARED / "addresses.part"
    part.write_text(json.dumps({name: address(server) for name, server in servers.items()}, indent=1) + "\n")
    os.replace(part, SHARED / "addresses.json")
    for name, result in results.items():
        print(f"{name:28} {line(result)}")
    failed = any(isinstance(result, StartFailed) or (require and isinstance(result, Unavailable)) for result in results.values())
    return 1 if failed else 0


def found_or_started(name: str) -> Server | Unavailable | StartFailed:
    """The server of this name, with nothing of an earlier one in it if it had to be started."""
    found = running(name)
    if found:
        return found
    server = make(name, shared_folder() / name)
    server.remove()
    try:
        server.start()
    except (Unavailable, StartFailed) as error:
        return error
    return server


def address(server: Server) -> dict[str, str]:
    """What a test needs to talk to a server."""
    found = {"url": server.url, "dir": str(server.dir)}
    if isinstance(server, ElasticsearchServer) and server.ca_file:
        found |= {"ca_file": str(server.ca_file), "user": server.user, "password": server.password}
    if isinstance(server, S3Server):
        found |= {"access_key": server.access_key, "secret_key": server.secret_key}
    return found


def line(result: Server | Unavailable | StartFailed) -> str:
    """What the table says of a server."""
    if isinstance(result, Unavailable):
        return f"left out: {result}"
    if isinstance(result, StartFailed):
        return "did not start: " + " | ".join(str(result).splitlines())
    details = [f"{name} {value}" for name, value in address(result).items() if name not in ("url", "dir")]
    return "  ".join([result.url, *details])


def stop() -> int:
    """End every server and delete what it kept, also one whose start was broken off."""
    for name in NAMES:
        make(name, shared_folder() / name).remove()
    shutil.rmtree(shared_folder(), ignore_errors=True)
    shutil.rmtree(SHARED, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
