"""Vega specifications drawn by Chromium as Kibana draws them: offline, without eval, by the interpreter."""

import copy
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

#: Versions that go together: Kibana 8.17 to 9.2 carry Vega 5, later ones Vega 6.
VEGA = {"5": ("5.33.0", "1.2.1"), "6": ("6.4.0", "2.3.2")}

_PAGE = """<!doctype html><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'nonce-1'; style-src 'unsafe-inline'">
<style>body {{ margin: 0; background: {background}; font-family: sans-serif }}</style>
<div id="drawing"></div><pre id="said" hidden></pre>
<script nonce="1">
const said = [];
for (const name of ["log", "info", "warn", "error", "debug"]) console[name] = (...parts) => said.push(name + ": " + parts.join(" "));
addEventListener("error", (event) => said.push("error: " + event.message));
addEventListener("securitypolicyviolation", (event) => said.push("refused: " + event.violatedDirective));
</script>
<script nonce="1">{bundle}</script>
<script nonce="1">
vega.expressionFunction("kibanaSetTimeFilter", () => null);
const view = new vega.View(vega.parse({spec}, null, {{ast: true}}), {{
  expr: expressionInterpreter, renderer: "svg", container: "#drawing", logLevel: vega.Warn}});
view.width({width}).height({height}).runAsync().catch((error) => said.push("error: " + error)).then(() => {{
  document.getElementById("said").textContent = said.join("\\n"); document.title = "drawn"; }});
</script>
"""


def bundle(version: str) -> str:
    """Vega of a major version with its interpreter, in one script; skips the test where it cannot be made."""
    cache = Path(os.environ.get("CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinchpoint")
    vega, interpreter = VEGA[version]
    folder = cache / f"vega-{vega}"
    script = folder / "vega.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm to fetch Vega with")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        done = subprocess.run([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", f"vega@{vega}",
                               f"vega-interpreter@{interpreter}", "esbuild"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm cannot fetch Vega: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
        (folder / "entry.js").write_text("import * as vega from 'vega'; import {expressionInterpreter} from 'vega-interpreter';\n"
                                         "Object.assign(globalThis, {vega, expressionInterpreter});\n")
        part = folder / "vega.part"
        [esbuild] = folder.glob("node_modules/@esbuild/*/bin/esbuild")
        subprocess.run([esbuild, "entry.js", "--bundle", "--minify", "--format=iife", f"--outfile={part}"], cwd=folder, check=True,
                       capture_output=True)
        part.rename(script)
    return script.read_text("utf-8").replace("</script", "<\\/script")


def chromium() -> str:
    """A Chromium; skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium to draw with")
    return found


def filled(spec: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    """A specification with answers of Elasticsearch, by the name of the data, in the place of its requests."""
    spec = copy.deepcopy(spec)
    for data in spec["data"]:
        if isinstance(data.get("url"), dict):
            del data["url"]
            data["values"] = answers[data["name"]]
    return spec | {"autosize": {"type": "fit", "contains": "padding"}}


class Drawn:
    """What Chromium made of a specification."""

    def __init__(self, page: str) -> None:
        self.texts = [re.sub(r"<[^>]+>", "", one) for one in re.findall(r"<t(?:ext|span)[^>]*>([^<]*)</t(?:ext|span)>", page)]
        self.paths = re.findall(r'd="([^"]*)"', page)
        said = re.search(r'<pre id="said"[^>]*>(.*?)</pre>', page, re.DOTALL)
        self.said = said[1] if said and "<title>drawn</title>" in page else "it was not drawn"


def draw(spec: dict[str, Any], version: str, folder: Path, size: tuple[int, int] = (760, 420), picture: Path | None = None,
         background: str = "#fff") -> Drawn:
    """Draw a specification, and keep a picture of it when one is asked for."""
    width, height = size
    page = folder / "page.html"
    page.write_text(_PAGE.format(bundle=bundle(version), spec=json.dumps(spec).replace("</", "<\\/"), width=width, height=height,
                                 background=background), encoding="utf-8")
    options = ["--headless", "--hide-scrollbars", "--disable-gpu", "--virtual-time-budget=4000", f"--user-data-dir={folder / 'profile'}",
               "--proxy-server=127.0.0.1:9", f"--window-size={width + 20},{height + 20}", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    if picture is not None:
        subprocess.run([chromium(), *options, f"--screenshot={picture}", page.as_uri()], capture_output=True, timeout=100, check=True)
    done = subprocess.run([chromium(), *options, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=100, check=True)
    return Drawn(done.stdout)
