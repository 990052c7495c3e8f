"""Sentences and sums as the page says them."""

from typing import Any

from models.causes.engine import in_unit
from models.view import STANDSTILLS
from pinchpoint import human
from pinchpoint.fields import CATEGORIES

#: How a part of the verdict's shares is called.
SHARES = {"data_wait": "wait for data", "communication_exposed": "communication", "h2d": "copy to device", "gc": "garbage collection",
          "idle": "between steps", "compute": "computation", "other": "other work in the step"}


def sentence(text: str) -> str:
    """A clause as a sentence: a capital, and a full stop.

    >>> sentence("a step takes 3 s")
    'A step takes 3 s.'
    """
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def plain(name: str) -> str:
    """A name of the catalogue as words.

    >>> plain("slow_rank")
    'slow rank'
    """
    return name.replace("_", " ")


def gpu_time(seconds: float, ranks: int) -> str:
    """Seconds of so many ranks together, one GPU each.

    >>> gpu_time(3600.0, 512), gpu_time(12.0, 2)
    ('512 GPU-hours', '24 GPU-seconds')
    """
    whole = seconds * ranks
    return f"{human.three_digits(whole / 3600)} GPU-hours" if whole >= 3600 else f"{human.three_digits(whole)} GPU-seconds"


def lost(incident: dict[str, Any], ranks: int) -> str:
    """What an incident cost, in one clause."""
    symptom = incident["symptom"]
    if symptom["name"] in STANDSTILLS:
        return in_unit(symptom["observed"], symptom["unit"])
    of_all = f", {gpu_time(symptom['lost_seconds'], ranks)} on {ranks} ranks" if ranks > 1 else ""
    return f"{human.seconds(symptom['lost_seconds'])} lost ({human.share(symptom['lost_share'])} of the wall time{of_all})"


def label_text(label: dict[str, Any]) -> str:
    """What a person said of an incident, in one clause."""
    return str(label["label"]) + (f": {label['note']}" if label.get("note") else "")


def known_category(category: str) -> str:
    """The category, or `other` for what is none: it becomes part of a class."""
    return category if category in CATEGORIES else "other"
