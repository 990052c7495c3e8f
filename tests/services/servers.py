"""Server processes: started by the scripts beside this file, reached by an address, ended by their process ids."""

import contextlib
import dataclasses
import hashlib
import json
import os
import select
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

SCRIPTS = Path(__file__).parent
LACKING = 69  # exit status of a script on a machine that lacks what the server takes


class Unavailable(Exception):
    """The machine lacks what a server takes; the message says what."""


class StartFailed(Exception):
    """A server did not start; the message ends in the last lines of its log."""


def run_script(name: str, *args: str, environment: dict[str, str] | None = None) -> str:
    """What a script printed, without the newline at its end.

    Raises: Unavailable, StartFailed.
    """
    command = [str(SCRIPTS / name), *args]
    # a session of its own: a Ctrl-C at the terminal must not end servers, only the script by way of the lines below
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        said, errors = process.communicate()
    except BaseException:
        process.terminate()  # it ends the server that it has begun to start
        process.wait()
        raise
    if process.returncode == LACKING:
        raise Unavailable(errors.strip())
    if process.returncode:
        raise StartFailed(f"{name} {' '.join(args)}: exit status {process.returncode}\n{errors.strip()}")
    return said.strip()


@dataclasses.dataclass
class Server:
    """One server process and the directory that it keeps everything in."""

    dir: Path
    url: str = ""
    ca_file: Path | None = None
    """Certificate of the authority that signed the server's own; None over plain HTTP."""

    script: ClassVar[str]

    def start(self) -> None:
        """Start it, also again after `kill` or `stop`; returns when it answers.

        Raises: Unavailable, StartFailed.
        """
        self.url = run_script(self.script, str(self.dir), "0")

    def kill(self) -> None:
        """End it as the kernel does when memory is short; returns when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it end in good order; returns when it is gone."""
        self._end(signal.SIGTERM)

    def remove(self) -> None:
        """End it and delete all it kept."""
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def answers(self) -> bool:
        """Whether it is there for requests, whatever it says to this one."""
        tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        try:
            with urllib.request.urlopen(self.url, timeout=5, context=tls):
                return True
        except urllib.error.HTTPError:
            return True
        except (OSError, ValueError):
            return False

    def _end(self, number: signal.Signals) -> None:
        try:
            pid = int((self.dir / "pid").read_text())
            process = os.pidfd_open(pid)
        except (OSError, ValueError):  # never started, or gone
            return
        try:
            # a number is given to other processes after a while: ours works in its directory
            if not Path(f"/proc/{pid}/cwd").readlink().is_relative_to(self.dir.resolve()):
                return
            signal.pidfd_send_signal(process, number)
            if not select.select([process], [], [], 30)[0]:
                signal.pidfd_send_signal(process, signal.SIGKILL)
                select.select([process], [], [])
        except (ProcessLookupError, FileNotFoundError):  # gone meanwhile
            return
        finally:
            os.close(process)


@dataclasses.dataclass
class ElasticsearchServer(Server):
    """A node of Elasticsearch, a cluster of its own."""

    version: str = "9.2.0"
    secure: bool = False
    """HTTPS, users and API keys."""
    heap: str = "512m"
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Lines of elasticsearch.yml: `{"thread_pool.write.queue_size": 1}`."""
    user: str = "elastic"
    password: str = "pinchpoint"

    script = "es-start.sh"

    def start(self) -> None:
        environment = {"ES_HEAP": self.heap, "ES_PASSWORD": self.password}
        if (self.dir / "started").exists():  # the same port: clients find it again
            self.url = run_script(self.script, "--again", str(self.dir), environment=environment)
            return
        lines = [f"{name}: {json.dumps(value)}" for name, value in self.settings.items()]
        security = ["--secure"] if self.secure else []
        self.url = run_script(self.script, self.version, str(self.dir), "0", *security, *lines, environment=environment)
        if self.secure:
            self.ca_file = self.dir / "conf" / "ca" / "ca.crt"


@dataclasses.dataclass
class S3Server(Server):
    """Object storage, with its buckets as folders under `dir/data`."""

    access_key: str = "test"
    secret_key: str = "testtest"

    script = "s3-start.sh"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which clients of S3 find it."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key,
                "AWS_REGION": "us-east-1"}


@dataclasses.dataclass
class ToxiproxyServer(Server):
    """Stands between a client and a server and delays, cuts or resets; `url` is that of its API."""

    script = "toxiproxy-start.sh"


def make(name: str, folder: Path) -> Server:
    """The server of one of `NAMES`, not started."""
    kind, _, rest = name.partition("-")
    if kind == "elasticsearch":
        version, _, secure = rest.partition("-")
        return ElasticsearchServer(folder, version=version, secure=bool(secure))
    return {"s3": S3Server, "toxiproxy": ToxiproxyServer}[kind](folder)


NAMES = ("elasticsearch-9.2.0", "elasticsearch-9.2.0-secure", "elasticsearch-8.19.5", "s3", "toxiproxy")

SHARED = Path(__file__).parents[2] / ".services"
"""Where `make services` keeps the addresses of its servers, and their folders where there is no room in memory."""

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30


def quick_folder(name: str, otherwise: Path) -> Path:
    """A folder of our own for what servers keep, in memory where there is room: to make an index takes a third of the time there."""
    folder = _MEMORY / f"pinchpoint-{os.getuid()}-{name}"
    try:
        if shutil.disk_usage(_MEMORY).free < _ROOM_BYTES:
            return otherwise
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder if folder.stat().st_uid == os.getuid() else otherwise
    except OSError:
        return otherwise


def shared_folder() -> Path:
    """Where the servers of `make services` of this checkout keep everything."""
    return quick_folder(hashlib.blake2b(str(SHARED).encode(), digest_size=4).hexdigest(), SHARED)


def addresses() -> dict[str, dict[str, str]]:
    """What `make services` started, by name; empty when it was not called."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((SHARED / "addresses.json").read_text()))
    return {}


def running(name: str) -> Server | None:
    """The server of `make services`; None when it was not started or does not answer."""
    address = addresses().get(name)
    if not address:
        return None
    server = make(name, Path(address["dir"]))
    server.url = address["url"]
    server.ca_file = Path(address["ca_file"]) if "ca_file" in address else None
    return server if server.answers() else None
