"""The documentation says what the code does, and leads where it says."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from command_lines import in_markdown, parse, words_of

from models.facts import FACTS
from pinchpoint.metrics import METRICS
from shippers.formats import FORMATS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def load_build() -> ModuleType:
    """docs/build.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


def test_the_reference_is_up_to_date():
    """Nobody changed the code without `make docs`."""
    assert build.outdated() == []


@pytest.mark.parametrize(("path", "command"), build.commands(), ids=[path for path, _ in build.commands()])
def test_every_command_has_help_and_an_example(path, command):
    """The help of a command says what it does and shows a line that can be typed."""
    assert command.help
    assert path in command.help.partition("Example")[2]


@pytest.mark.parametrize(("path", "command"), build.commands(), ids=[path for path, _ in build.commands()])
def test_every_option_says_what_it_does(path, command):
    """No option is without a sentence."""
    assert [option.name for option in command.params if option.param_type_name == "option" and not option.help] == []


def test_help_fits_80_columns():
    """No line of any help is wider than a plain terminal."""
    assert [line for line in build.commands_page().splitlines() if len(line) > 80 and not line.startswith(("<!--", "Data goes"))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    """Files and headings that a page links to exist."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_can_be_typed(page):
    """Commands in code blocks exist, and their options too."""
    for line in in_markdown(page.read_text(encoding="utf-8")):
        if "COMMAND" not in line:
            parse(words_of(line))


def test_every_page_is_on_the_site():
    """No page is left out of the navigation, and none is in it that is not there."""
    named = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE))

    assert named == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


def anchors(page: Path) -> set[str]:
    """Names of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_metrics_page_names_every_metric():
    """The reference leaves nothing out."""
    assert [name for name in METRICS if f"`{name}`" not in build.metrics_page()] == []


def test_inputs_of_causes_are_readers_and_all_are_named():
    """What facts need is in the list, in their words, and each reader in it exists."""
    needs = tomllib.loads((ROOT / "docs" / "cause_inputs.toml").read_text())["need"]

    assert sorted(need["what"] for need in needs) == sorted({one.needs for one in FACTS.values()})
    assert {reader for need in needs for reader in need["readers"]} <= set(FORMATS)
