"""Ship a file over a link of so many kbit/s, in a network of its own that holds nothing else; print what the sink counted.

tests/services/netns-run.sh python tests/narrow_link.py SINK FILE STATE KBIT
"""

import json
import subprocess
import sys
from pathlib import Path

import bulk_sink


def main(program: str, file: str, state: str, kbit: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500"], check=True)
    narrow = ["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", f"{kbit}kbit", "burst", "16kb", "latency", "400ms"]
    subprocess.run(narrow, check=True)
    with bulk_sink.running(Path(program)) as sink:
        command = [Path(sys.executable).with_name("pinchpoint"), "ship", "--once", "--state-dir", state, "--store", sink.url, file]
        done = subprocess.run(command, capture_output=True, text=True)
        print(json.dumps({**sink.stats(), "status": done.returncode, "said": done.stderr}))


if __name__ == "__main__":
    main(*sys.argv[1:])
