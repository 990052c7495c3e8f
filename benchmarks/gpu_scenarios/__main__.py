"""Make each scenario from several seeds and hold the verdict against what was done.

python -m benchmarks.gpu_scenarios --seeds 20
python -m benchmarks.gpu_scenarios --seeds 60 --first-seed 1000 --only "one GPU too hot" --format json
"""

import argparse
import collections
import json
import time
from typing import Any

from benchmarks.gpu_scenarios.case import make, verdict
from benchmarks.gpu_scenarios.scenarios import FAULTS, HEALTHY, Scenario


def score(scenario: Scenario, seed: int) -> dict[str, Any]:
    """One case: what was expected, what was said, whether it is right, and whether it names the device."""
    case = make(scenario, seed)
    answer = verdict(case)
    causes = [cause for incident in answer["incidents"] for cause in incident["causes"]]
    said = causes[0]["id"] if causes else "-" if answer["incidents"] else "healthy"
    slow = scenario.cause is not None or bool(scenario.never)
    wrong = {cause["id"] for cause in causes} & set(scenario.never)
    right = not wrong if scenario.never else said == (scenario.cause or "healthy")
    named = causes[0]["entity"] if causes else {"kind": "", "id": ""}
    device = named["id"] in {*case.uuids, *map(str, case.ranks)} if named["kind"] in ("gpu", "rank") else None
    expected = scenario.cause or ("not " + "/".join(scenario.never) if slow else "healthy")
    return {"scenario": scenario.name, "seed": seed, "expected": expected, "said": said, "right": right,
            "device": device, "about": case.about,
            "all": [f"{cause['id']} {cause['lost_seconds']:.0f} s {cause['confidence']}" for cause in causes]}


def main() -> None:
    """Make, ask, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = (*FAULTS, *HEALTHY)
    parser.add_argument("--only", nargs="+", metavar="SCENARIO", choices=[scenario.name for scenario in every])
    parser.add_argument("--seeds", type=int, default=5, help="how many of each scenario")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    rows, begun = [], time.perf_counter()
    for scenario in every:
        if not options.only or scenario.name in options.only:
            rows += [score(scenario, seed) for seed in range(options.first_seed, options.first_seed + options.seeds)]
            if options.format == "table":
                print(line([row for row in rows if row["scenario"] == scenario.name]), flush=True)
    if options.format == "json":
        print(json.dumps(rows, indent=2))
        return
    slow, fine = [row for row in rows if row["expected"] != "healthy"], [row for row in rows if row["expected"] == "healthy"]
    named = [row["device"] for row in slow if row["right"] and row["device"] is not None]
    print(f"\nright cause first: {sum(row['right'] for row in slow)} of {len(slow)}; right device: {sum(named)} of {len(named)}; "
          f"incidents in healthy runs: {sum(not row['right'] for row in fine)} of {len(fine)}; {time.perf_counter() - begun:.0f} s")
    for row in (row for row in rows if not row["right"] or row["device"] is False):
        print(f"  {row['scenario']}, seed {row['seed']}: {row['said']} instead of {row['expected']} ({row['about']}): "
              f"{', '.join(row['all'])}")


def line(rows: list[dict[str, Any]]) -> str:
    """One scenario as a line: how many are right, and what was said how often."""
    said = collections.Counter(row["said"] for row in rows)
    told = ", ".join(f"{name} {count}" for name, count in said.most_common())
    return f"{rows[0]['scenario'][:60]:<62}{rows[0]['expected']:<16}{sum(row['right'] for row in rows):>4} of {len(rows):<4} {told}"


if __name__ == "__main__":
    main()
