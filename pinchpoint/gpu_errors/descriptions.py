"""Read the descriptions that people and monitors give to faults of nodes, as fault lists hold them."""

import re

from pinchpoint.gpu_errors.findings import Finding
from pinchpoint.gpu_errors.rules import fault_words

#: Actions of events that are entries of a fault list, and of those that end one.
STARTS = ("fault_start", "fault")
ENDS = ("fault_end",)


_SAYS_NOTHING = re.compile(r"(?i)\s*(?:unknown(?: error| failure| fault)?|n/?a|none|other|others|-|)\s*")


def read_description(text: str | None) -> Finding | None:
    """What a description of a fault speaks of; None when it says nothing, as "Unknown Error".

    >>> read_description("GPU Temperature High").kind, read_description("Link Down").action
    ('too_hot', 'link_down')
    >>> read_description("Unknown Error") is None
    True
    """
    if not text or _SAYS_NOTHING.fullmatch(text):
        return None
    text = text[:400]
    for rule in fault_words():
        if rule.pattern.search(text):
            return Finding(rule.action, rule.kind, rule.blame, rule.severity, text)
    # it stands in a list of faults of nodes, so that much is known
    return Finding("hardware_error", "node_fault", "unknown", "fatal", text)
