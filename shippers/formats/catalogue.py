"""Every format by name, and which one an input is in."""

from pathlib import Path

from pinchpoint.errors import UnknownFormat, UsageError
from shippers.formats import (
    archive,
    dlio,
    ebpf_trace,
    flight_recorder,
    golden_values,
    jax_trace,
    job_errors,
    kernel_log,
    lightning_csv,
    metric_csv,
    mlflow,
    mllog,
    nvidia_bug_report,
    nvidia_smi_csv,
    nvidia_smi_table,
    nvidia_smi_text,
    nvidia_smi_xml,
    operation_table,
    otlp_json,
    pipeline_timeline,
    process_list,
    progress_log,
    prometheus,
    records,
    tensorboard,
    torch_profiler,
    trainer_state,
    training_log,
)
from shippers.formats.base import Format, Reading
from shippers.formats.lines import read_head

_HEAD = 256 * 1024
#: Trainers print thousands of lines of settings before the first step: of text that nothing else claims, so much is looked at.
_TEXT_HEAD = 16 << 20

#: In the order in which they are asked: what says what it is before what is known by its shape.
FORMATS: dict[str, Format] = {one.name: one for one in (
    archive.FORMAT, tensorboard.FORMAT, mlflow.FORMAT, ebpf_trace.FORMAT,
    records.FORMAT, otlp_json.FORMAT, mllog.FORMAT, dlio.FORMAT, operation_table.FORMAT,
    pipeline_timeline.FORMAT, jax_trace.JSON, jax_trace.XPLANE,
    torch_profiler.FORMAT, trainer_state.FORMAT, golden_values.FORMAT, flight_recorder.FORMAT, nvidia_bug_report.FORMAT,
    nvidia_smi_text.FORMAT, nvidia_smi_xml.FORMAT, nvidia_smi_csv.FORMAT, nvidia_smi_table.FORMAT, process_list.FORMAT, kernel_log.FORMAT,
    prometheus.TEXT, prometheus.JSON, training_log.FORMAT, progress_log.FORMAT, metric_csv.FORMAT, lightning_csv.FORMAT,
    job_errors.FORMAT)}


def detect(path: Path) -> Format:
    """The format of an input, found by looking at its beginning.

    Raises: UnknownFormat with what was seen; InputError when it cannot be read at all.
    """
    head = read_head(path, _HEAD)
    is_all = len(head) < _HEAD
    for one in FORMATS.values():
        # of a longer text the steps may come after the first error
        if (is_all or one is not job_errors.FORMAT) and one.recognises(head):
            return one
    if b"\0" not in head and not is_all:
        head = read_head(path, _TEXT_HEAD)
        for one in (mllog.FORMAT, training_log.FORMAT, progress_log.FORMAT, job_errors.FORMAT):
            if one.recognises(head):
                return one
    seen = head[:60]
    raise UnknownFormat(f"{path}: in no known format; it begins with {seen!r}.\n"
                        f"Name one with --reader: {', '.join(FORMATS)}" if head else f"{path}: empty")


def is_part(path: Path) -> bool:
    """Whether a file of a folder is read with, or told in full by, another one beside it."""
    return mlflow.is_part(path) or jax_trace.is_part(path)


def open_input(path: Path | str, reader: str | None = None, rejected_to: Path | None = None) -> Reading:
    """Begin to read one file.

    Args:
        path: the file.
        reader: name of its format; None looks inside.
        rejected_to: where items that cannot be read are set aside; None only counts them.
    Raises: UsageError for a reader that does not exist; InputError, UnknownFormat.
    """
    path = Path(path)
    if reader is None:
        found = detect(path)
    elif reader in FORMATS:
        found = FORMATS[reader]
    else:
        raise UsageError(f"no reader {reader!r}; there are {', '.join(FORMATS)}")
    return Reading(path, found.name, found.read, rejected_to)
