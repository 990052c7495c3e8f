"""Output folders of DLIO and MLPerf Storage: how long the emulated accelerators waited for data.

`per_epoch_stats.json` is the input; what it needs of the run lies beside it (`run_info.json`, `.hydra/config.yaml`, `<rank>_output.json`).
"""

import datetime
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import read_chunks
from shippers.formats.told import told

_MOST_BYTES = 64 << 20
_MOST_EPOCHS = 10_000
_MOST_RANKS = 1024
#: The steps that MLPerf Storage leaves out of the utilisation of an epoch: the first, which holds the start-up, and the last.
_LEFT_OUT = 2
#: Bytes a second at which one reader unpacks the first batch, while nothing computes yet. Where steps were not recorded, the start of an
#: epoch is estimated with it; of order 100 MB/s for the NumPy and
#: image formats of the benchmark. Own estimate: it may be off by a factor of 2.
_FIRST_BATCH_BYTES_PER_S = 100e6
#: Bytes of a sample of the benchmark's three workloads (mlcommons/storage v1.0, configs), where the run's configuration does not say.
_SAMPLE_BYTES = {"unet3d": 146_600_628, "resnet50": 114_660, "cosmoflow": 2_828_486}
_OUTPUT = re.compile(r"\A(\d{1,6})_output\.json(?:\.gz)?\Z")
_YAML_NUMBER = re.compile(
    r"^\s*(num_files_train|num_samples_per_file|record_length|batch_size|computation_time):\s*([\d.eE+-]{1,24})\s*$", re.M)


def recognises(head: bytes) -> bool:
    """Whether it begins like the statistics of epochs, with blocks in them."""
    return head.lstrip().startswith(b"{") and b'"block1"' in head[:4096] and b'"start"' in head[:4096] and b'"duration"' in head[:65536]


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each epoch: computation, and waiting for data as far as it is sure; the best estimate is told beside it.

    Utilisation is as MLPerf Storage defines it (dlio_benchmark, statscounter.py): computation of the steps but the first and the last over
    the time of these. With recorded steps it is worked out of them; else it is estimated from the length of the epoch.

    Raises: InputError when it is no statistics of epochs.
    """
    stats = _json(path)
    if not isinstance(stats, dict):
        raise InputError(f"{path}: no statistics of epochs")
    about = _about(path.parent, reading)
    ranks = _outputs(path.parent, reading)
    spans: list[tuple[int, int, float, float, float]] = []
    for key, epoch in list(stats.items())[:_MOST_EPOCHS]:
        for name, block in epoch.items() if isinstance(epoch, dict) else ():
            if not name.startswith("block") or not isinstance(block, dict):
                continue
            try:
                start, length = _ns(block["start"]), float(block["duration"])
                number = int(key)
            except (KeyError, TypeError, ValueError) as error:
                reading.reject(json.dumps(block).encode()[:400], f"block {name} of epoch {key}: {error}")
                continue
            spent = _measured(ranks, key, name, length) or _estimated(about, length)
            if spent is not None and 0 < spent[0] < 1e9:
                spans.append((start, number, *spent))
    if not spans:
        reading.notes.append("nothing beside it says how many steps an epoch has and how long they compute "
                             "(run_info.json, .hydra/config.yaml)")
        return
    if not ranks:
        reading.notes.append("no steps of ranks beside it: the start of each epoch is estimated, waiting may be off by some points")
    spans.sort()
    duration, compute, doubt = (np.array([one[place] for one in spans]) for place in (2, 3, 4))
    compute = np.minimum(compute, duration)
    wait = duration - compute
    sure = (wait - doubt).clip(0)
    if len(sure) > _LEFT_OUT:  # the first epoch fills caches and starts workers: what it waits beyond the others is no steady stall
        sure[0] = min(sure[0], float(np.median(sure[1:])))
    # what lies between blocks (evaluation, checkpoints, the workers' start and end) is no time of steps: they are laid end to end
    starts = spans[0][0] + np.round(np.concatenate(([0.0], np.cumsum(duration)[:-1])) * NS).astype(np.int64)
    run, size = f"dlio-{records.content_id('dlio', *spans[0])[:12]}", len(spans)
    yield "step", records.batch("step", {
        "@timestamp": starts, "event.id": [f"{run}-{n}" for n in range(size)], "run.id": [run] * size, "rank": [0] * size,
        "step": list(range(size)), "epoch": [one[1] for one in spans], "duration_s": duration, "phase.compute_s": compute,
        "phase.data_wait_s": sure})
    yield told(run, int(starts[0]), {"data_wait": float((wait / duration).mean())})


def _json(path: Path) -> Any:
    data = b""
    for chunk in read_chunks(path):
        data += chunk
        if len(data) > _MOST_BYTES:
            raise InputError(f"{path}: more than {_MOST_BYTES >> 20} MiB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error


def _ns(text: str) -> int:
    time = datetime.datetime.fromisoformat(text)
    return round((time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp() * 1e6) * 1000


def _about(folder: Path, reading: Reading) -> dict[str, float]:
    """What the run was asked to do: files, samples, batch, computation of a step (s), accelerators, bytes of a sample."""
    about: dict[str, float] = {}
    names = {"num_files_train": "num_files_train", "num_samples_per_file": "num_samples_per_file", "batch_size": "batch_size",
             "emulated_compute_time_per_step_s": "computation_time", "num_accelerators": "num_accelerators"}
    config, info, summary = folder / ".hydra" / "config.yaml", folder / "run_info.json", folder / "summary.json"
    try:
        if config.is_file() and config.stat().st_size < 1 << 20:
            text = config.read_text(encoding="utf-8", errors="replace")
            about |= {name: float(value) for name, value in _YAML_NUMBER.findall(text)}
            if model := re.search(r"^\s*(?:name|model):\s*(\w{1,40})\s*$", text, re.M):
                about.setdefault("record_length", float(_SAMPLE_BYTES.get(model[1].lower(), 0)))
        for place in (info, summary):
            found = _json(place) if place.is_file() else {}
            about |= {ours: float(found[theirs]) for theirs, ours in names.items()
                      if isinstance(found, dict) and isinstance(found.get(theirs), int | float)}
    except (OSError, ValueError, InputError) as error:
        reading.notes.append(str(error))
    return about


def _outputs(folder: Path, reading: Reading) -> list[dict[str, Any]]:
    """What each rank wrote of its steps."""
    found = []
    for path in sorted(one for one in folder.iterdir() if _OUTPUT.match(one.name))[:_MOST_RANKS]:
        try:
            output = _json(path)
        except InputError as error:
            reading.notes.append(str(error))
            continue
        if isinstance(output, dict):
            found.append(output)
    return found


def _measured(ranks: list[dict[str, Any]], epoch: str, block: str, length: float) -> tuple[float, float, float] | None:
    """(duration, computation, 0) of an epoch without its first and last step, mean over the ranks; None without recorded steps."""
    found = []
    for rank in ranks:
        try:
            compute = np.array(rank[epoch]["compute"][block], float)
            process = np.array(rank[epoch]["proc"][block], float)
        except (KeyError, TypeError, ValueError):
            continue
        if len(compute) > _LEFT_OUT and len(process) == len(compute) and np.isfinite(compute).all() and np.isfinite(process).all():
            found.append((length - process[0] - process[-1], compute[1:-1].sum()))
    return (float(np.mean([one[0] for one in found])), float(np.mean([one[1] for one in found])), 0.0) if found else None


def _estimated(about: dict[str, float], length: float) -> tuple[float, float, float] | None:
    """(duration, computation, how many seconds of the rest may be start-up after all) of an epoch of which only the length is known."""
    needed = ("num_files_train", "num_samples_per_file", "batch_size", "computation_time", "num_accelerators")
    if any(about.get(name, 0) <= 0 for name in needed):
        return None
    steps = about["num_files_train"] * about["num_samples_per_file"] // (about["batch_size"] * about["num_accelerators"])
    start = about["batch_size"] * about.get("record_length", 0) / _FIRST_BATCH_BYTES_PER_S
    compute = max(steps - _LEFT_OUT, 0) * about["computation_time"]
    return max(length - start - _LEFT_OUT * about["computation_time"], compute), compute, start


FORMAT = Format("dlio", recognises, read)
