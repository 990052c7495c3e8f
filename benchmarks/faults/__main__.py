"""Provoke each slowdown under `pinchpoint watch` and hold the verdict against what was done.

python -m benchmarks.faults --repeat 3
python -m benchmarks.faults --only "tiny files" "healthy, 2 ranks"
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.faults.cases import CASES, Case

_ROOT = Path(__file__).parents[2]


def provoke(case: Case, seed: int) -> dict[str, Any]:
    """Run one case; what was expected, what the verdict says, and the lost seconds of both."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        verdict, truth = Path(folder) / "verdict.json", Path(folder) / "truth.json"
        neighbour = Path(folder) / "neighbour"
        hogs = None
        if "cpu-hog" in case.arguments:  # started here: what the run starts itself is no neighbour
            hogs = subprocess.Popen([sys.executable, str(_ROOT / "examples" / "hogs.py"), str(neighbour)])
        command = [str(Path(sys.executable).parent / "pinchpoint"), "watch", "--store", f"{folder}/lake", "--verdict", str(verdict), "--",
                   sys.executable, str(_ROOT / "examples" / "train.py"), *shlex.split(case.arguments), "--seed", str(seed), "--truth",
                   str(truth), "--neighbour", str(neighbour)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if hogs is not None:
            hogs.terminate()
            hogs.wait()
        row = {"case": case.name, "category": case.category, "expected": "/".join(case.causes) or "healthy", "seed": seed}
        if ended.returncode or not verdict.exists():
            reason = (ended.stderr.strip().splitlines() or ["no verdict"])[0]
            return {**row, "skipped": reason}
        answer, told = json.loads(verdict.read_text()), json.loads(truth.read_text())
    causes = [cause for incident in answer["incidents"] for cause in incident["causes"]]
    first = causes[0] if causes else None
    ours = sum(cause["lost_seconds"] for cause in causes if cause["id"] in case.causes)
    theirs = sum(told["lost_s"].values())
    return {**row, "said": first["id"] if first else answer["verdict"], "confidence": first["confidence"] if first else None,
            "right": (first is not None and first["id"] in case.causes) if case.causes else not answer["incidents"],
            "lost_s": round(ours, 2), "true_lost_s": round(theirs, 2), "error": round(ours / theirs - 1, 3) if theirs and ours else None,
            "all": [f"{cause['id']} {cause['lost_seconds']:.1f}" for cause in causes]}


def main() -> None:
    """Provoke, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=[case.name for case in CASES])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    rows = []
    for case in CASES:
        if options.only and case.name not in options.only:
            continue
        for seed in range(1, options.repeat + 1):
            row = provoke(case, seed)
            rows.append(row)
            if options.format == "table":
                print(line(row), flush=True)
    if options.format == "json":
        print(json.dumps(rows, indent=2))
        return
    ran = [row for row in rows if "right" in row]
    slow, healthy = [row for row in ran if row["category"] != "none"], [row for row in ran if row["category"] == "none"]
    print(f"\nright cause first: {sum(row['right'] for row in slow)} of {len(slow)}; "
          f"incidents in healthy runs: {sum(not row['right'] for row in healthy)} of {len(healthy)}")


def line(row: dict[str, Any]) -> str:
    """One run as a line of a table."""
    head = f"{row['case']:<32}{row['expected']:>8}"
    if "skipped" in row:
        return f"{head}  skipped: {row['skipped']}"
    error = "" if row["error"] is None else f"{100 * row['error']:+.0f} %"
    return (f"{head}  {row['said']:<8}{'' if row['confidence'] is None else row['confidence']:>5}  "
            f"{'right' if row['right'] else 'WRONG':<6}"
            f"{row['lost_s']:>7} s of {row['true_lost_s']:>6} s {error:>6}  {', '.join(row['all'][1:])}")


if __name__ == "__main__":
    main()
