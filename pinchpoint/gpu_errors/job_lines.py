"""Read lines of training jobs for errors: memory of the GPU, NaN, recompilation, loader workers, collectives, torchrun."""

from pinchpoint.gpu_errors.findings import Finding
from pinchpoint.gpu_errors.kernel_lines import MOST_CHARACTERS, by_rule
from pinchpoint.gpu_errors.rules import job_rules

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
    # what any rule needs: most lines hold none of it, and this is asked of every line of a log
    if not (has_nan(line) or b"out of memory. Tried" in line or b"DataLoader w" in line
            or b"NCCL" in line or b"_limit" in line or b"cache flushes" in line or b"allocation retries" in line or b"SIGKILL" in line
            or b"ChildFailedError" in line or b"exitcode" in line or b"kipping " in line or b"orker group" in line
            or b"endezvous" in line or b"oom-kill" in line or b"oom_kill" in line or b"out-of-memory" in line or b"CANCELLED" in line
            or b"distinct sizes" in line or b"ensor Cores" in line or b"tensor cores" in line or b"libibverbs" in line
            or b"expandable_seg" in line or b"DistStore" in line or b"DistNet" in line):
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
