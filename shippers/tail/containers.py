"""Container logs: the lines of CRI runtimes and of Docker's json-file driver, and what their paths say."""

import dataclasses
import re

import msgspec

from shippers.tail.times import time_of

_POD = re.compile(r"/pods/([^/_]+)_([^/_]+)_([^/_]+)/([^/]+)/[^/]+$")
_KUBELET_LINK = re.compile(r"/containers/([^/_]+)_([^/_]+)_([^/]+)-([0-9a-f]{64})\.log$")
_DOCKER = re.compile(r"/containers/([0-9a-f]{64})/[0-9a-f]{64}-json\.log")
_CRI = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP])(?::[^ ]*)? ?(.*)", re.DOTALL)
_DECODE = msgspec.json.Decoder().decode


@dataclasses.dataclass(slots=True)
class Wrapped:
    """A line of a container, with what its runtime says of it."""

    start: int
    text: bytes
    time: str | None = None
    stream: str | None = None


def labels_of_path(path: str) -> dict[str, str]:
    """Pod, namespace and container of a log, from its path; empty for any other file.

    >>> labels_of_path("/var/log/pods/ml_train-0_8a1f/trainer/0.log")["orchestrator.resource.name"]
    'train-0'
    """
    if found := _POD.search(path):
        namespace, pod, uid, container = found.groups()
        return {"orchestrator.namespace": namespace, "orchestrator.resource.type": "pod", "orchestrator.resource.name": pod,
                "orchestrator.resource.id": uid, "container.name": container}
    if found := _KUBELET_LINK.search(path):
        pod, namespace, container, container_id = found.groups()
        return {"orchestrator.namespace": namespace, "orchestrator.resource.type": "pod", "orchestrator.resource.name": pod,
                "container.name": container, "container.id": container_id}
    if found := _DOCKER.search(path):
        return {"container.id": found[1]}
    return {}


def format_of(path: str, first_line: bytes) -> str | None:
    """`cri` or `docker` for a log of a container; None for any other."""
    if _CRI.fullmatch(first_line):
        return "cri"
    # nerdctl and podman write files of the same shape elsewhere
    if path.endswith("-json.log") and _docker(first_line) is not None:
        return "docker"
    return None


def unwrap(form: str, lines: list[bytes], starts: list[int], *, final: bool) -> tuple[list[Wrapped], int]:
    """The lines that a container wrote, by where they start; those its runtime cut are joined.

    Args:
        form: `cri` or `docker`.
        lines: of the file.
        starts: their offsets.
        final: what is not complete yet is taken as it is.
    Returns: the lines, and how many of the input lines at the end wait for the rest of one that is not complete.
    """
    parse = _cri if form == "cri" else _docker
    whole: list[Wrapped] = []
    unfinished: dict[str | None, tuple[Wrapped, int]] = {}
    for number, (line, start) in enumerate(zip(lines, starts, strict=True)):
        parsed = parse(line)
        if parsed is None:
            whole.append(Wrapped(start, line))
            continue
        time, stream, partial, text = parsed
        one, begun = unfinished.pop(stream, (None, number))
        if one is None:
            one = Wrapped(start, text, time, stream)
            whole.append(one)
        else:
            one.text += text
        if partial:
            unfinished[stream] = one, begun
    if final or not unfinished:
        return whole, 0
    # what comes after the beginning of an unfinished line is read again together with it
    first = min(begun for _, begun in unfinished.values())
    return [one for one in whole if one.start < starts[first]], len(lines) - first


def _cri(line: bytes) -> tuple[str | None, str, bool, bytes] | None:
    found = _CRI.fullmatch(line)
    if found is None:
        return None
    time, stream, flag, text = found.groups()
    return time_of(time.decode()), stream.decode(), flag == b"P", text


def _docker(line: bytes) -> tuple[str | None, str | None, bool, bytes] | None:
    try:
        record = _DECODE(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("log"), str):
        return None
    text, stream = record["log"].encode(), record.get("stream")
    # Docker cuts lines of more than 16 KiB; only the last piece ends with a line feed
    return time_of(record.get("time")), stream if isinstance(stream, str) else None, not text.endswith(b"\n"), text.removesuffix(b"\n")
