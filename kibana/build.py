"""Write what pinchpoint brings to Kibana and Grafana, from the table of fields; twice the same bytes.

python -m kibana.build          writes
python -m kibana.build --check  changes nothing and fails when something is not what would be written
"""

import json
import sys
from pathlib import Path

from kibana import grafana
from kibana.boards import BOARDS
from kibana.dashboards import dashboard
from kibana.views import check_links, objects

ROOT = Path(__file__).parent.parent
#: Where `pinchpoint setup kibana` finds it when it is installed.
OBJECTS = Path("pinchpoint") / "kibana" / "objects.ndjson"


def kibana() -> str:
    """All saved objects, one a line."""
    check_links()
    found = [*objects(), *(dashboard(board, BOARDS) for board in BOARDS)]
    return "".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in found)


def files() -> dict[Path, str]:
    """Every file with its content, by its path in the repository."""
    return {OBJECTS: kibana(), **grafana.dashboards(BOARDS)}


def outdated() -> list[str]:
    """The files that are not what would be written now."""
    return [str(path) for path, text in files().items()
            if not (ROOT / path).is_file() or (ROOT / path).read_text(encoding="utf-8") != text]


def main() -> int:
    """Write or check."""
    if "--check" in sys.argv[1:]:
        names = outdated()
        if names:
            print(f"not up to date: {', '.join(names)}. Run `make kibana` and commit what it wrote.", file=sys.stderr)
        return 1 if names else 0
    for path, text in files().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
