"""The chain of whys: from what is seen to what causes it, each link the reason of the one before."""

from typing import Any

from models.report.html import Markup, tag
from models.report.words import sentence


def whys(cause: dict[str, Any]) -> Markup:
    """The links of one cause in order."""
    return tag("ol", [tag("li", tag("span", "Seen" if not number else "Why?", class_="why-word"), " ",
                          sentence(link.removeprefix("because ")))
                      for number, link in enumerate(cause["why"])], class_="whys")
