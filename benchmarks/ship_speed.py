"""What shipping costs, beside rsyslog and syslog-ng in the same run, into a sink that counts exactly.

    python -m benchmarks.ship_speed --lines 1000000
    python -m benchmarks.ship_speed --peers DIR     # Debian's packages of both, unpacked below DIR

Needs the sink that the tests use (tests/bulk_sink.py) and a C compiler. CPU-seconds are the measure: lines a second depend on what
else the cores do.
"""

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import bulk_sink  # noqa: E402 - the tests' sink

from benchmarks import ship_peers  # noqa: E402

CPU_BAR_S, RSS_BAR_MB, STEADY_BAR, IDLE_BAR, RATIO_BAR = 4.5, 35.0, 0.01, 0.002, 0.6
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_TIMEOUT_S = 300.0

Begin = Callable[[Path, Path, int], ship_peers.Start | str]


@dataclasses.dataclass
class Row:
    """What one shipper did."""

    name: str
    lines_per_s: float = 0.0
    cpu_s: float = 0.0
    rss_mb: float = 0.0
    lost: int = 0
    doubled: int = 0
    skipped: str = ""


def write_lines(path: Path, lines: int) -> None:
    """JSON lines of 352 bytes on average, as a training job with structured logs writes them."""
    levels = ("info", "info", "info", "warn", "debug")
    with path.open("w", encoding="utf-8") as file:
        for number in range(lines):
            second, milli = divmod(number, 1000)
            message = (f"step {number * 7 % 100_000} loss {(number * 31 % 9000) / 1000:.4f} grad_norm {(number * 17 % 5000) / 1000:.3f} "
                       f"lr 3.0e-04 tokens/s {100_000 + number * 13 % 90_000}" + " retrying shard" * (number % 5 == 0))
            file.write(f'{{"@timestamp":"2026-01-01T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{milli:03d}Z",'
                       f'"log":{{"level":"{levels[number % 5]}","logger":"train.loop"}},"message":{json.dumps(message)},'
                       f'"host":{{"name":"gpu-node-{number % 64:03d}"}},"labels":{{"job_id":"481516","queue":"large"}},'
                       f'"process":{{"pid":{20_000 + number % 512}}},"trace":{{"id":"{number * 2654435761 % (1 << 128):032x}"}},'
                       f'"ecs":{{"version":"8.11.0"}},"rank":{number}}}\n')


def cpu_s(pid: int) -> float:
    """CPU time of a process and its ended children, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * _TICK_S


def peak_mb(pid: int) -> float:
    """Most resident memory a process had, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def bulk(program: Path, name: str, begin: Begin, log: Path, lines: int, *faults: str) -> Row:
    """Ship a whole file."""
    row = Row(name)
    with tempfile.TemporaryDirectory(prefix="bench-ship-") as folder, bulk_sink.running(program, "--expect", str(lines), *faults) as sink:
        start = begin(Path(folder), log, int(sink.url.rpartition(":")[2]))
        if isinstance(start, str):
            row.skipped = start
            return row
        begun = time.monotonic()
        with subprocess.Popen(start.command, env=ship_peers.whole(start.environment), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            found = sink.stats()
            while found["stored"] < lines and time.monotonic() - begun < _TIMEOUT_S and process.poll() is None:
                time.sleep(0.2)
                found = sink.stats()
            took = time.monotonic() - begun
            if process.poll() is None:
                row.cpu_s, row.rss_mb = cpu_s(process.pid), peak_mb(process.pid)
                process.terminate()
            else:
                row.skipped = f"it ended by itself with status {process.returncode}"
        found = sink.stats()
    row.lines_per_s = min(found["stored"], lines) / took
    counted = found["without_seq"] < lines // 2
    row.lost, row.doubled = (found["missing"] if counted else max(0, lines - found["stored"])), found["duplicates"]
    return row


def share(program: Path, begin: Begin, lines_per_s: int, span_s: float) -> float | str:
    """Share of a core while so many lines a second are written; after five seconds in which it settles."""
    with tempfile.TemporaryDirectory(prefix="bench-ship-") as folder, bulk_sink.running(program) as sink:
        log = Path(folder) / "app.log"
        log.touch()
        start = begin(Path(folder), log, int(sink.url.rpartition(":")[2]))
        if isinstance(start, str):
            return start
        with subprocess.Popen(start.command, env=ship_peers.whole(start.environment), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            _write_for(log, lines_per_s, 5.0)
            before, begun = cpu_s(process.pid), time.monotonic()
            _write_for(log, lines_per_s, span_s)
            used = (cpu_s(process.pid) - before) / (time.monotonic() - begun)
            process.terminate()
    return used


def _write_for(log: Path, lines_per_s: int, span_s: float) -> None:
    due, end = time.monotonic(), time.monotonic() + span_s
    line = '{"@timestamp":"2026-01-01T00:00:00.000Z","message":"' + "x" * 280 + '","rank":0}\n'
    with log.open("a", encoding="utf-8") as file:
        while due < end:
            if lines_per_s:
                file.write(line * (lines_per_s // 10))
                file.flush()
            due += 0.1
            time.sleep(max(0.0, due - time.monotonic()))


def main() -> int:
    """Print what each shipper did, and whether ours meets the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--span", type=float, default=30.0, help="seconds of each steady measurement")
    parser.add_argument("--peers", type=Path, help="folder with unpacked Debian packages")
    options = parser.parse_args()
    if (why := bulk_sink.missing()) is not None:
        print(f"skipped: {why}")
        return 0
    peers = ship_peers.Peers(options.peers)
    starts: dict[str, Begin] = {}
    for kind, parsed in (("parsed", True), ("unparsed", False)):
        starts[f"pinchpoint, {kind}"] = functools.partial(ship_peers.ours, parsed=parsed)
        starts[f"rsyslog, {kind}"] = functools.partial(ship_peers.rsyslog, peers=peers, parsed=parsed)
        starts[f"syslog-ng, {kind}"] = functools.partial(ship_peers.syslog_ng, peers=peers, parsed=parsed)
    with tempfile.TemporaryDirectory(prefix="bench-ship-") as folder:
        program, log = bulk_sink.build(Path(folder)), Path(folder) / "in.json"
        write_lines(log, options.lines)
        print(f"{options.lines:,} lines of {log.stat().st_size / options.lines:.0f} B")
        print(f"{'':28}{'lines/s':>10}{'CPU-s per M':>13}{'peak MB':>9}{'lost':>8}{'doubled':>9}")
        rows = {}
        for name, begin in starts.items():
            rows[name] = _shown(bulk(program, name, begin, log, options.lines), options.lines)
        refusing = bulk(program, "pinchpoint, 10 % item-429s", starts["pinchpoint, parsed"], log, options.lines, "--reject-items", "0.1")
        busy = _shown(refusing, options.lines)
        print(f"\n{'share of a core':28}{'2,000 lines/s':>15}{'idle':>10}")
        shares = {}
        for name in ("pinchpoint, parsed", "rsyslog, parsed", "syslog-ng, unparsed"):
            steady, idle = share(program, starts[name], 2000, options.span), share(program, starts[name], 0, options.span)
            shares[name] = steady, idle
            print(f"{name:28}" + "".join(f"  skipped: {one}" if isinstance(one, str) else f"{one:>13.3%}" for one in (steady, idle)))
    return _judged(rows, busy, shares["pinchpoint, parsed"], options.lines)


def _shown(row: Row, lines: int) -> Row:
    if row.skipped:
        print(f"{row.name:28}  skipped: {row.skipped}", flush=True)
    else:
        cost = row.cpu_s / lines * 1e6
        print(f"{row.name:28}{row.lines_per_s:>10,.0f}{cost:>13.2f}{row.rss_mb:>9.1f}{row.lost:>8}{row.doubled:>9}", flush=True)
    return row


def _judged(rows: dict[str, Row], busy: Row, shares: tuple[float | str, float | str], lines: int) -> int:
    one, other = rows["pinchpoint, parsed"], rows["rsyslog, parsed"]
    cost = one.cpu_s / lines * 1e6
    bars = [("CPU-seconds per million lines", cost, CPU_BAR_S), ("peak MB", one.rss_mb, RSS_BAR_MB),
            ("lost and doubled", one.lost + one.doubled, 0),
            ("time with item-429s, of that without", one.lines_per_s / max(busy.lines_per_s, 1e-9), 1.25)]
    if not other.skipped:
        bars.append(("of rsyslog's CPU-seconds", one.cpu_s / other.cpu_s, RATIO_BAR))
    named = zip(("steady", "idle"), shares, (STEADY_BAR, IDLE_BAR), strict=True)
    bars += [(f"share of a core, {name}", value, bar) for name, value, bar in named if not isinstance(value, str)]
    print()
    for name, value, bar in bars:
        print(f"{'ok  ' if value <= bar else 'OVER'} {name}: {value:.3g}, bar {bar:g}")
    return int(any(value > bar for _, value, bar in bars))


if __name__ == "__main__":
    sys.exit(main())
