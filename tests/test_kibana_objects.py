"""What is brought to Kibana is made of the table of fields, whole and in the forms that every Kibana from 8.17 on reads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kibana import build
from kibana.boards import BOARDS
from kibana.views import VIEWS, types
from pinchpoint import fields
from pinchpoint.store.es import links

CHECKER = build.ROOT.parent / "shared" / "tools" / "kibana_check" / "kibana_check.py"


def test_what_is_committed_is_what_would_be_built():
    """Nobody changed a board, a field or a drawing without `make kibana`."""
    assert build.outdated() == []


def test_building_twice_gives_the_same_bytes():
    """Nothing depends on time, order of sets or the machine."""
    assert build.files() == build.files()


@pytest.mark.skipif(not CHECKER.exists(), reason="the checker of saved objects is not beside this checkout")
def test_the_checker_is_silent(tmp_path):
    """References, versions, grid, controls, links, Lens wiring, field types, KQL and Vega are in order."""
    known = {part: types(view) for view in VIEWS.values() for part in view.title.split(",")}
    (tmp_path / "fields.json").write_text(json.dumps(known))
    done = subprocess.run([sys.executable, CHECKER, "--fields", tmp_path / "fields.json", build.ROOT / build.OBJECTS],
                          capture_output=True, text=True)

    assert done.stdout == ""
    assert done.returncode == 0


#: Says whether the dashboards are still what is committed after a field was renamed; its build may refuse too.
_RENAMED = """
import sys
from pathlib import Path
source = Path("pinchpoint/fields.py").read_text("utf-8")
old, new = sys.argv[1:]
assert source.count(f'"{old}"') > 0
import importlib.util, types
module = types.ModuleType("pinchpoint.fields")
module.__file__ = "pinchpoint/fields.py"
import pinchpoint
sys.modules["pinchpoint.fields"] = module
pinchpoint.fields = module
exec(compile(source.replace(f'"{old}"', f'"{new}"'), "pinchpoint/fields.py", "exec"), module.__dict__)
try:
    from kibana.build import outdated
    print("same" if not outdated() else "other")
except KeyError as error:
    print("refused")
"""


@pytest.mark.parametrize("name", ["incident.id", "lost_seconds", "cause.category", "rank", "duration_s", "gpu.uuid", "event.action",
                                  "lost_gpu_hours", "series", "incident.links.logs", "epoch"])
def test_a_renamed_field_is_noticed(name):
    """A new name for a field in fields.py makes the comparison fail, or the build refuse, until the boards say the new one."""
    done = subprocess.run([sys.executable, "-c", _RENAMED, name, f"{name}x"], cwd=build.ROOT, capture_output=True, text=True)

    assert done.stdout.strip() in ("other", "refused"), done.stderr


def test_every_kind_of_record_has_a_data_view():
    """Whatever is stored can be looked at in Discover."""
    assert set(fields.KINDS) <= set(VIEWS)


def test_boards_stay_small():
    """A board is read in one sitting: few rows of panels, numbers aside."""
    for board in BOARDS:
        assert sum(len(row.panels) for row in board.rows) <= 24


def test_links_of_documents_lead_to_data_views_that_there_are():
    """The ids that are written into documents are those of data views of the same kind."""
    assert {kind: VIEWS[kind].id for kind in links.VIEWS} == dict(links.VIEWS)


def test_a_link_holds_what_it_says():
    """Hosts with quotes stay inside the query, and the time is that of the incident with some before it."""
    link = links.logs({"start": "2026-01-01T10:00:00Z", "end": "2026-01-01T10:20:00Z", "hosts": ["n7", "it's \"x\" (y)"]})

    assert link == ("discover#/?_g=(time:(from:'2026-01-01T09:50:00Z',to:'2026-01-01T10:22:00Z'))&_a=(index:'pinchpoint-logs',"
                    "columns:!('log.level','host.name','rank','message'),query:(language:'kuery',"
                    "query:'host.name:%20(%22n7%22%20or%20%22it!'s%20%5C%22x%5C%22%20(y)%22)'))")


def test_the_built_file_is_part_of_what_is_installed():
    """`pinchpoint setup kibana` finds the objects where the package is."""
    setup = (build.ROOT / "setup.cfg").read_text("utf-8")

    assert "pinchpoint.kibana = *.ndjson" in setup
    assert (Path(build.ROOT) / build.OBJECTS).is_file()
