"""The parts of a step as pictures show them: few groups, each with a name, a colour by meaning and a pattern."""

#: Group: name for people, class of its colour, and the parts it gathers; drawn from the bottom up.
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("computation", "model", ("forward", "backward", "optimizer", "compute")),
    ("compilation", "model-light", ("compile",)),
    ("wait for data", "data", ("data_wait",)),
    ("copy to device", "data-light", ("h2d",)),
    ("communication", "infrastructure", ("communication",)),
    ("checkpoint, evaluation", "process", ("checkpoint", "evaluation")),
    ("garbage collection", "other-dark", ("gc",)),
    ("other work in the step", "other", ("other",)),
    ("between steps", "gap", ("gap",)),
)
#: Class of a colour → kind of its pattern; without one the area is plain.
PATTERNS = {"data": "dots", "data-light": "dots", "infrastructure": "slashes", "process": "bars", "gap": "checks"}
