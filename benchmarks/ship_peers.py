"""How each shipper of the benchmark is started: ours, rsyslog and syslog-ng, on parsed and on unparsed lines."""

import dataclasses
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

TARGET = "logs-bench-default"
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/syslog-ng")


@dataclasses.dataclass(frozen=True)
class Start:
    """A command that follows a file into the sink until it is ended."""

    command: list[str]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Peers:
    """Where the other shippers are: installed, or Debian's packages unpacked below a folder (they cannot be installed together)."""

    root: Path | None

    def find(self, program: str) -> str | None:
        """The program, or None where it is not there."""
        if self.root is not None and (self.root / "usr/sbin" / program).exists():
            return str(self.root / "usr/sbin" / program)
        return shutil.which(program) or shutil.which(program, path="/usr/sbin")

    def libraries(self) -> str | None:
        """Where the libraries of unpacked packages are."""
        return None if self.root is None else ":".join(f"{self.root}/{folder}" for folder in _LIBRARIES)

    def environment(self) -> dict[str, str]:
        """What their programs need to find their libraries."""
        libraries = self.libraries()
        return {} if libraries is None else {"LD_LIBRARY_PATH": libraries}


def ours(folder: Path, log: Path, port: int, *, parsed: bool) -> Start:
    """Default settings, but for the format of the lines."""
    settings = folder / "pinchpoint.toml"
    settings.write_text(f"[ship]\noutputs = ['http://127.0.0.1:{port}']\n[[ship.files]]\npaths = ['{log}']\n"
                        f"format = '{'auto' if parsed else 'text'}'\n")
    command = [str(Path(sys.executable).with_name("pinchpoint")), "ship", "--config", str(settings), "--state-dir", str(folder / "state")]
    return Start(command)


def rsyslog(folder: Path, log: Path, port: int, peers: Peers, *, parsed: bool) -> Start | str:
    """Batches of 1,024 and a queue of 100,000 in memory, no ids, which would cost it more. A reason where it is not there."""
    program = peers.find("rsyslogd")
    if program is None:
        return "rsyslogd is not installed (Debian: rsyslog, rsyslog-elasticsearch)"
    template = ('template(name="t" type="string" string="%$!all-json%")' if parsed else
                'template(name="t" type="list") { constant(value="{\\"@timestamp\\":\\"") property(name="timereported" '
                'dateFormat="rfc3339") constant(value="\\",") property(name="msg" outname="message" format="jsonf") constant(value="}") }')
    parse = 'action(type="mmjsonparse" cookie="")\n' if parsed else ""
    settings = folder / "rsyslog.conf"
    settings.write_text(f"""global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imfile" mode="inotify")
module(load="mmjsonparse")
module(load="omelasticsearch")
{template}
input(type="imfile" File="{log}" Tag="x:" ruleset="r" readTimeout="0")
ruleset(name="r" queue.type="LinkedList" queue.size="100000" queue.dequeueBatchSize="1024") {{
{parse}action(type="omelasticsearch" server="127.0.0.1" serverport="{port}" template="t" searchIndex="bench" searchType=""
  bulkmode="on" action.resumeRetryCount="-1")
}}
""")
    modules = [] if peers.root is None else ["-M", f"{peers.root}/usr/lib/x86_64-linux-gnu/rsyslog"]
    command = [program, "-n", "-f", str(settings), "-i", str(folder / "pid"), *modules]
    return Start(command, peers.environment())


def syslog_ng(folder: Path, log: Path, port: int, peers: Peers, *, parsed: bool) -> Start | str:
    """Batches of 2,000 lines, no ids. A reason where it is not there."""
    program = peers.find("syslog-ng")
    if program is None:
        return "syslog-ng is not installed (Debian: syslog-ng-core, syslog-ng-mod-http)"
    document = "$(format-json --key-delimiter ~ --scope none j.* --rekey j.* --shift 2)" if parsed else "$MESSAGE"
    parser = 'parser { json-parser(prefix("j.") key-delimiter("~")); };' if parsed else ""
    settings = folder / "syslog-ng.conf"
    settings.write_text(f"""@version: 3.38
options {{ log-msg-size(65536); log-fifo-size(100000); stats-freq(0); }};
log {{
  source {{ file("{log}" flags(no-parse) follow-freq(1) log-iw-size(10000) log-fetch-limit(2000)); }};
  {parser}
  destination {{ http(url("http://127.0.0.1:{port}/{TARGET}/_bulk") method("POST") headers("Content-Type: application/x-ndjson")
    batch-lines(2000) batch-bytes(2097152) batch-timeout(1000) retries(100) delimiter("\\n") body-suffix("\\n")
    body("{{\\"create\\":{{}}}}\\n{document}")); }};
  flags(flow-control);
}};
""")
    modules = [] if peers.root is None else [f"--module-path={peers.root}/usr/lib/syslog-ng/3.38"]
    command = [program, "-F", "-f", str(settings), "-R", str(folder / "persist"), "-c", str(folder / "control"),
               "--pidfile", str(folder / "pid"), *modules]
    return Start(command, peers.environment())


def whole(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process with some more in it."""
    return {**os.environ, **environment}
