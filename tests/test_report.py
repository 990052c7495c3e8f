"""The page of an incident: whole, small, readable without a script, and inert whatever the data says."""

import copy
import html.parser
import re
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_data import CATEGORIES, put, stored, wide

from models import verdict
from models.cli import explain
from models.report.incident_page import incident_page, verdict_page
from pinchpoint.store.lake import LakeStore
from pinchpoint.store.memory import MemoryStore

STORE, INCIDENT = stored()
#: What must not get out of a text.
PAYLOADS = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "\u2028alert(1)\u2029",
            "</style><style>*{display:none}", "x' onload='alert(1)", "<!--", "]]>", "{{7*7}}", "url(https://evil.example/)",
            "</pre></details><a href=//evil.example>", "</title><base href=//evil.example>", "\x00<svg/onload=alert(1)>", "&lt;script&gt;",
            "\u202egnp.exe", "\ud800")


class Outline(html.parser.HTMLParser):
    """Elements with the names of their attributes, in order, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, tuple(key for key, _ in attributes)))
        self.links += [value or "" for key, value in attributes if key in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def shown(one: dict[str, Any]) -> str:
    return incident_page(one, STORE, CATEGORIES)


def test_the_page_has_everything_in_order():
    """Verdict, what to do, whys, timeline, heat map, fishbone, tree, evidence, ruled out, raw numbers."""
    text = shown(INCIDENT)
    heads = re.findall(r'<section id="([a-z-]+)"', text)

    assert heads == ["verdict", "do", "why", "timeline", "ranks", "fishbone", "tree", "evidence", "ruled-out", "missing", "raw"] or \
        heads == ["verdict", "do", "why", "timeline", "ranks", "fishbone", "tree", "evidence", "ruled-out", "raw"]
    assert text.count("<svg") >= 5
    assert "GPU-seconds" in text
    assert "onset" in text


def test_the_verdict_is_there_without_a_script():
    """The sentence, the fix and the whys stand in the document itself."""
    outline = " ".join(Outline(re.sub(r"<script>.*?</script>", "", shown(INCIDENT), flags=re.DOTALL)).text)

    assert INCIDENT["causes"][0]["summary"] in outline
    assert INCIDENT["causes"][0]["fix"][0][1:] in outline


def test_labels_and_similar_incidents_are_shown():
    """What people said of it and of earlier ones is on the page."""
    store, one = stored()
    earlier = copy.deepcopy(one) | {"id": "0123456789ab", "start": "2025-12-01T00:00:00Z", "end": "2025-12-01T01:00:00Z"}
    store.put_incident(earlier)
    store.label("0123456789ab", "confirmed", "the fan of node-7", 0)
    store.label(one["id"], "seen", None, 0)
    text = incident_page(store.incident(one["id"]), store, CATEGORIES)

    assert "confirmed: the fan of node-7" in text
    assert ">seen<" in text


def test_nothing_may_run_or_be_fetched_but_our_own():
    """The policy names the hashes of the one style and the one script; there is no address of anything else."""
    text = shown(INCIDENT)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)

    assert policy is not None
    assert policy[1].startswith("default-src &#x27;none&#x27;; style-src &#x27;sha256-")
    assert "unsafe" not in policy[1]
    assert [link for link in Outline(text).links if not link.startswith("#")] == []
    assert not re.search(r"<[^>]+\sstyle=", text)


@pytest.mark.parametrize("ranks", [512, 4096])
def test_the_page_stays_small(ranks):
    """At most 1 MB, however many ranks."""
    store, one = stored(ranks)

    assert len(incident_page(one, store, CATEGORIES).encode()) <= 1_000_000


def poison(value: Any, text: str) -> Any:
    """The same document with a text in the place of every text that comes from data."""
    if isinstance(value, dict):
        return {key: below if key in ("start", "end", "id", "unit", "window", "compared_with", "name", "kind") else poison(below, text)
                for key, below in value.items()}
    if isinstance(value, list):
        return [poison(below, text) for below in value]
    return text if isinstance(value, str) else value


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.sampled_from(PAYLOADS), st.text(max_size=40),
                 st.tuples(st.text(max_size=5), st.sampled_from(PAYLOADS), st.text(max_size=5)).map("".join)))
def test_no_element_or_attribute_comes_from_data(text):
    """Whatever a log line, a host, a label, a run or a catalogue says, the page has the same elements with the same attributes."""
    labelled = INCIDENT | {"labels": [{"label": "x", "note": "y", "at": "z"}]}
    plain, hostile = Outline(shown(poison(labelled, "x"))), Outline(shown(poison(labelled, text or "x")))

    assert [name for name, _ in hostile.elements] == [name for name, _ in plain.elements]
    assert hostile.elements == plain.elements
    assert [link for link in hostile.links if not link.startswith("#")] == []


@pytest.mark.parametrize("text", PAYLOADS)
def test_hostile_inputs_of_a_verdict_stay_text(text):
    """Names of files and notes of readers too, and the title."""
    answer = verdict.whole([], [{"path": text, "reader": text, "records": 0, "rejected": 0, "notes": [text]}]) | {"summary": text}
    plain = verdict.whole([], [{"path": "x", "reader": "x", "records": 0, "rejected": 0, "notes": ["x"]}]) | {"summary": "x"}

    assert Outline(verdict_page(answer, MemoryStore(), CATEGORIES)).elements == \
        Outline(verdict_page(plain, MemoryStore(), CATEGORIES)).elements


def test_a_healthy_run_has_a_page():
    """Without an incident the page says so, and where the time went."""
    answer = verdict.whole([], []) | {"verdict": "healthy", "summary": "Nothing is out of line.", "shares": {"compute": 0.9, "idle": None}}
    text = verdict_page(answer, MemoryStore(), CATEGORIES)

    assert "Healthy" in text
    assert "90 %" in text


def test_explain_writes_the_page(tmp_path):
    """`explain ID --html FILE` writes it, and says where; a folder that is not there is refused before any work."""
    lake = str(tmp_path / "lake")
    identity = put(LakeStore(lake), wide(4))[0]["id"]
    done = CliRunner().invoke(explain, ["--store", lake, identity[:6], "--html", str(tmp_path / "page.html")], catch_exceptions=False)
    refused = CliRunner().invoke(explain, ["--store", lake, identity, "--html", str(tmp_path / "no" / "page.html")])

    assert done.exit_code == 0
    assert identity in (tmp_path / "page.html").read_text("utf-8")
    assert "cannot write to" in str(refused.exception)
