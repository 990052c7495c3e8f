"""The page: its frame, with a policy that lets nothing but its own style and script act."""

import base64
import hashlib
from collections.abc import Iterable
from importlib import resources

from models.report.html import Markup, join, tag


def page(title: str, heading: Markup, sections: Iterable[tuple[str, str, Markup | None]], foot: str) -> str:
    """A whole HTML document in one string.

    Args:
        title: of the document.
        heading: what stands on top, the verdict.
        sections: id (of our own), heading and content of each; one without content is left out.
        foot: what was read, when and by what.
    """
    style, script = _file("style.css"), _file("page.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    shown = [(name, head, content) for name, head, content in sections if content]
    head = tag("head", tag("meta", charset="utf-8"), tag("meta", http_equiv="Content-Security-Policy", content=policy),
               tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("meta", name="color-scheme", content="light dark"), tag("meta", name="referrer", content="no-referrer"),
               tag("title", title), tag("style", Markup(style)))
    # a second incident is found under the first, not a second time in the list
    listed = [(name, head_text) for name, head_text, _ in shown if not name[-1].isdigit()]
    links = tag("nav", tag("ul", [tag("li", tag("a", head_text, href=f"#{name}")) for name, head_text in listed]),
                aria_label="On this page")
    buttons = tag("div", tag("button", "Dark or light", type="button", id="theme", hidden=True),
                  tag("button", "Print", type="button", id="print", hidden=True), class_="buttons")
    body = tag("body", tag("a", "To the verdict", href="#verdict", class_="skip"),
               tag("header", tag("span", "pinchpoint", class_="brand"), buttons),
               links,
               tag("main", tag("section", heading, id="verdict", class_="verdict", tabindex="-1"),
                   [tag("section", tag("h2", head_text), content, id=name) for name, head_text, content in shown]),
               tag("footer", tag("p", foot)),
               tag("div", id="tip", role="status", hidden=True), tag("script", Markup(script)))
    return join(Markup("<!doctype html>\n"), tag("html", head, body, lang="en"), "\n")


def _file(name: str) -> str:
    return (resources.files("models.report") / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
