"""Read lines of training jobs for errors: memory of the GPU, NaN, recompilation, loader workers, collectives, torchrun."""

import re

from pinchpoint.gpu_errors.findings import Finding
from pinchpoint.gpu_errors.kernel_lines import MOST_CHARACTERS, by_rule
from pinchpoint.gpu_errors.rules import job_rules

#: What any rule but that of losses needs: most lines hold none of it, and this is asked of every line of a log.
_HINT = re.compile(
    rb"NCCL|DataLoader w|DistStore|DistNet|SIGKILL|CANCELLED|ChildFailed|_limit|orker group|endezvous|oom[-_]kill|out-of-memory|exitcode"
    rb"|kipping |distinct sizes|ensor [Cc]ores|libibverbs|expandable_seg|cache flushes|allocation retries|out of memory\. Tried")
_COUNTED = b"nan iterations:"


def read_job_line(line: bytes) -> Finding | None:
    """The error that a line tells of; None when it tells of none.

    >>> read_job_line(b"CUDA out of memory. Tried to allocate 2.00 GiB. GPU 3 has a total capacity of 79 GiB").device
    '3'
    >>> read_job_line(b"iter 1: loss 2.0") is None
    True
    """
    if len(line) > MOST_CHARACTERS:
        line = line[:MOST_CHARACTERS]
    if _HINT.search(line) is None and not has_nan(line):
        return None
    text = line.decode("utf-8", "replace")
    for rule in job_rules():
        match = rule.pattern.search(text)
        if match is not None:
            return by_rule(rule, match)
    return None


def has_nan(line: bytes) -> bool:
    """Whether a loss in a line may be no number.

    >>> has_nan(b"lm loss: NaN |"), has_nan(b"lm loss: 2.1 | number of nan iterations:   0 |")
    (True, False)
    """
    return (_speaks_of(b"nan", line) or b"NaN" in line or b"NAN" in line) and (b"loss" in line or b"Loss" in line or b"LOSS" in line)


def _speaks_of(text: bytes, line: bytes) -> bool:
    at = line.find(text)
    # Megatron-LM counts them at the end of each line of a step
    return at >= 0 and (not line.startswith(_COUNTED, at) or line.find(text, at + len(text)) >= 0)
