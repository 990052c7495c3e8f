"""The fishbone, the why-chain and the timeline are drawn without a word on the console: with an answer, without, with a hostile one."""

import json
from pathlib import Path
from typing import Any

import pytest
from vega_pages import VEGA, draw, filled

from kibana import fishbone, timeline, whychain

ANSWERS = Path(__file__).parent / "data" / "kibana"
SPECS = {"fishbone": fishbone.spec(), "why": whychain.spec(), "timeline": timeline.spec()}
#: What must be read in each drawing of the recorded answers.
TEXTS = {
    "fishbone": ("gpu_thermal_throttle", "infrastructure", "Lost time", "data"),
    "why": ("Symptom: a step takes", "ruled out:", "because"),
    "timeline": ("step_time", "onset", "UTC", "Show only this time"),
}
NOTHING = {"hits": {"total": {"value": 0}, "hits": []}, "aggregations": {"categories": {"buckets": []}}}

pytestmark = pytest.mark.timeout(400)


def data_names(name: str) -> list[str]:
    return [data["name"] for data in json.loads(SPECS[name])["data"] if isinstance(data.get("url"), dict)]


def recorded(name: str) -> dict[str, Any]:
    """What Elasticsearch answered in tests/test_kibana_queries.py."""
    return {data: json.loads((ANSWERS / f"{name}-{data}.json").read_text("utf-8")) for data in data_names(name)}


def assert_clean(drawn: Any) -> None:
    assert drawn.said == ""
    assert [path for path in drawn.paths if "NaN" in path or "Infinity" in path] == []
    assert [text for text in drawn.texts if text in ("NaN", "undefined", "Infinity", "null")] == []


@pytest.mark.parametrize("version", VEGA)
@pytest.mark.parametrize("name", SPECS)
def test_an_answer_is_drawn(name: str, version: str, tmp_path: Path) -> None:
    """Nothing is said on the console, no request is made, and the texts are there."""
    drawn = draw(filled(json.loads(SPECS[name]), recorded(name)), version, tmp_path)

    assert_clean(drawn)
    assert [text for text in TEXTS[name] if not any(text in one for one in drawn.texts)] == []


@pytest.mark.parametrize("version", VEGA)
@pytest.mark.parametrize("name", SPECS)
def test_no_answer_is_drawn_calmly(name: str, version: str, tmp_path: Path) -> None:
    """Without documents there is no warning either: Kibana would print it over the panel."""
    drawn = draw(filled(json.loads(SPECS[name]), dict.fromkeys(data_names(name), NOTHING)), version, tmp_path)

    assert_clean(drawn)


@pytest.mark.parametrize("name", ["why", "timeline"])
def test_markup_in_data_stays_text(name: str, tmp_path: Path) -> None:
    """What comes from logs and labels is drawn as letters."""
    hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    text = json.dumps(recorded(name)).replace("gpu.", hostile.replace('"', '\\"')).replace("because ", hostile.replace('"', '\\"'))
    drawn = draw(filled(json.loads(SPECS[name]), json.loads(text)), "5", tmp_path)

    assert drawn.said == ""


def test_a_very_long_chain_stays_inside(tmp_path: Path) -> None:
    """Lines are broken at spaces, and a word longer than a line is drawn too."""
    answers = recorded("why")
    answers["raw"]["hits"]["hits"][0]["_source"]["cause.why"] = "\n".join(["word " * 60, "w" * 200, "", "end"])
    drawn = draw(filled(json.loads(SPECS["why"]), answers), "5", tmp_path)

    assert_clean(drawn)
    assert any("end" in text for text in drawn.texts)
