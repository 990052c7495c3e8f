"""The pages in a real browser: no error, no request, nothing in the way of those who use keyboards or readers of screens."""

import json
import os
import shutil
import subprocess

import pytest
from chromium import Page, program
from report_data import CATEGORIES, put, stored, wide

from models.report.incident_page import incident_page
from models.report.period import gather
from models.report.period_page import period_page
from pinchpoint.clock import NS, parse_time
from pinchpoint.store.memory import MemoryStore

BROWSER = program()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium (on Debian: apt install chromium; or CHROMIUM=/path)")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Page(BROWSER, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The source of axe-core; its place may be given, else npm fetches it."""
    given = os.environ.get("AXE_CORE")
    if given:
        with open(given, encoding="utf-8") as file:
            return file.read()
    if shutil.which("npm") is None:
        pytest.skip("needs npm, or axe.min.js in $AXE_CORE")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4"], capture_output=True,
                          timeout=90, check=False)
    if done.returncode:
        pytest.skip("npm cannot fetch axe-core here")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module", params=["incident", "period"])
def file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    if request.param == "incident":
        store, one = stored(512)
        path.write_text(incident_page(one, store, CATEGORIES), "utf-8")
    else:
        store = MemoryStore()
        start = parse_time(put(store, wide(16))[0]["start"])
        path.write_text(period_page(gather(store, start - 86_400 * NS, start + 86_400 * NS), "Two days"), "utf-8")
    return path


@pytest.mark.parametrize(("width", "dark"), [(1100, False), (1100, True), (390, False)])
def test_it_opens_without_a_complaint(browser, file, width, dark, record_property):
    """No error or warning in the console, no request but for the file itself, nothing wider than the screen."""
    seconds = browser.open(file, width=width, dark=dark)
    record_property("seconds", seconds)
    print(f"{file.name} at {width}, {'dark' if dark else 'light'}: {seconds:.2f} s")

    assert browser.complaints() == []
    assert browser.requests() == [file.absolute().as_uri()]
    assert browser.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(browser, file, axe, dark):
    """axe-core reports neither serious nor critical problems, in both themes."""
    browser.open(file, dark=dark)
    browser.run(f"{axe};1")
    found = json.loads(browser.run("axe.run().then(found => JSON.stringify(found.violations.map(one => "
                                   "[one.id, one.impact, one.nodes.slice(0, 3).map(node => node.html.slice(0, 200))])))"))

    assert [one for one in found if one[1] in ("serious", "critical")] == []


def test_the_theme_can_be_turned(browser, file):
    """The button turns a light page dark, and back."""
    browser.open(file)
    colours = [browser.run("document.getElementById('theme').click(), getComputedStyle(document.body).backgroundColor") for _ in range(2)]

    assert colours == ["rgb(20, 23, 27)", "rgb(255, 255, 255)"]


def test_the_pointer_tells_a_value(browser, tmp_path):
    """Over a chart of the incident a note with value and time appears."""
    path = tmp_path / "page.html"
    store, one = stored()
    path.write_text(incident_page(one, store, CATEGORIES), "utf-8")
    browser.open(path)
    said = browser.run("""[...document.querySelectorAll('svg[data-chart]')].map(chart => {
        chart.scrollIntoView();
        const box = chart.getBoundingClientRect();
        const where = {clientX: box.left + box.width * 0.8, clientY: box.top + box.height / 2, bubbles: true};
        chart.dispatchEvent(new PointerEvent('pointermove', where));
        return document.getElementById('tip').hidden ? null : document.getElementById('tip').textContent; })""")

    assert said[0].startswith("rank ")
    assert all(text is not None and "\\n2026-01-01 " in json.dumps(text) for text in said)
