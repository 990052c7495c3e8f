"""What is provoked, and what the verdict should be."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One way to run the example."""

    name: str
    arguments: str
    """Of examples/train.py."""
    causes: tuple[str, ...]
    """Ids of the causes of which one must come first; none for a healthy run."""
    category: str


CASES = (
    Case("tiny files", "--slow tiny-files --ranks 1 --steps 200", ("D06",), "data"),
    Case("decode in the training process", "--slow decode-in-process --ranks 1 --steps 300", ("D04",), "data"),
    Case("heavy decode", "--slow heavy-decode --ranks 1 --steps 200", ("D03",), "data"),
    Case("slow samples, short queue", "--slow slow-sample --ranks 1 --steps 300", ("D10",), "data"),
    Case("uneven samples", "--slow uneven-samples --steps 500", ("D13",), "data"),
    Case("slow rank", "--slow straggler --slow-from 0 --steps 250", ("I12",), "infrastructure"),
    Case("CPU taken by others", "--slow cpu-hog --steps 300", ("I16",), "infrastructure"),
    Case("CPU quota", "--slow cgroup-quota --ranks 1 --steps 400", ("I18",), "infrastructure"),
    Case("memory leak", "--slow memory-leak --ranks 1 --steps 400", ("M08",), "model"),
    Case("garbage collection", "--slow gc-storm --ranks 1 --steps 300", ("M11",), "model"),
    Case("frequent checkpoints", "--slow checkpoint-often --ranks 1 --steps 120", ("P02",), "process"),
    Case("blocking checkpoints", "--slow big-checkpoint --ranks 1 --steps 300", ("P01",), "process"),
    Case("slower operator", "--slow slower-operator --ranks 1 --steps 300", ("P06",), "process"),
    Case("healthy, 2 ranks", "--steps 400", (), "none"),
    Case("healthy, 1 rank", "--ranks 1 --steps 500", (), "none"),
    Case("healthy, 1 rank, 2 workers", "--ranks 1 --workers 2 --steps 400 --checkpoint-every 50 --evaluate-every 50", (), "none"),
)
