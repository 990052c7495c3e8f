"""One cause of the catalogue as text."""

import textwrap

from models.causes.catalogue import Cause, Clause
from models.causes.engine import in_unit
from models.facts import FACTS


def show_cause(cause: Cause, width: int) -> list[str]:
    """Lines that say all the catalogue knows of a cause."""
    lines = [f"{cause.id} {cause.name} ({cause.category})", ""]
    for label, texts in (
        ("what", [cause.summary]),
        ("explains", [", ".join(sorted(cause.explains))]),
        ("required", [clause_text(one) for one in cause.required]),
        ("supporting", [clause_text(one) for one in cause.supporting]),
        ("excluding", [f"{clause_text(one)}: {one.because}" for one in cause.excluding]),
        ("fix", list(cause.fix)),
        ("source", [cause.source]),
    ):
        for number, text in enumerate(texts):
            head = label if number == 0 else ""
            lines += textwrap.wrap(text, width, initial_indent=f"{head:<12}", subsequent_indent=" " * 12)
    return lines


def clause_text(clause: Clause) -> str:
    """A piece of evidence as a sentence."""
    if clause.any_of:
        return " or ".join(clause_text(one) for one in clause.any_of)
    assert clause.fact is not None  # noqa: S101 (a clause has a fact or alternatives: catalogue._clause)
    about = FACTS[clause.fact]
    word = "at least" if clause.strong > clause.some else "at most"
    if about.unit == "flag":
        return about.meaning
    return f"{about.meaning}: {word} {in_unit(clause.some, about.unit)}, strong {in_unit(clause.strong, about.unit)}"
