"""Kernel logs in all their spellings: time, host, message; each line a log, each error an event."""

import datetime
import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shippers.formats import kernel_log, open_input
from shippers.formats.kernel_lines import parse_line

WRITTEN = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
XID = "NVRM: Xid (PCI:0000:9b:00): 79, pid=7, name=python, GPU has fallen off the bus."
SPELLINGS = {
    "dmesg": (f"[ 4909.922970] {XID}", None, None),
    "dmesg with caller": (f"[ 4909.922970][    T1] {XID}", None, None),
    "dmesg -r": (f"<3>[ 4909.922970] {XID}", None, None),
    "dmesg -x": (f"kern  :err   : [ 4909.922970] {XID}", None, None),
    "dmesg -T": (f"[Fri Feb 20 16:24:18 2026] {XID}", "2026-02-20T16:24:18", None),
    "dmesg -x -T": (f"kern  :err   : [Fri Feb 20 16:24:18 2026] {XID}", "2026-02-20T16:24:18", None),
    "dmesg --time-format iso": (f"2026-02-20T16:24:18,500000+01:00 {XID}", "2026-02-20T15:24:18.5", None),
    "dmesg -x --time-format iso": (f"kern  :err   : 2026-02-20T16:24:18,500000+00:00 {XID}", "2026-02-20T16:24:18.5", None),
    "kern.log": (f"Feb 20 16:24:18 node1 kernel: [ 4909.922970] {XID}", "2026-02-20T16:24:18", "node1"),
    "last year": (f"Dec 31 16:24:18 node1 kernel: {XID}", "2025-12-31T16:24:18", "node1"),
    "journalctl -k": (f"Feb 20 16:24:18 node1 kernel: {XID}", "2026-02-20T16:24:18", "node1"),
    "journalctl -o short-precise": (f"Feb 20 16:24:18.500000 node1 kernel: {XID}", "2026-02-20T16:24:18.5", "node1"),
    "journalctl -o short-iso": (f"2026-02-20T16:24:18+0000 node1 kernel: {XID}", "2026-02-20T16:24:18", "node1"),
    "rsyslog": (f"2026-02-20T16:24:18.500000+00:00 node1 kernel: [ 4909.922970] {XID}", "2026-02-20T16:24:18.5", "node1"),
    "/dev/kmsg": (f"3,1234,4909922970,-;{XID}", None, None),
}


def read(path):
    reading = open_input(path)
    rows = {"log": [], "event": []}
    for kind, batch in reading:
        rows[kind] += batch.to_pylist()
    return reading, rows["log"], rows["event"]


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_read(name):
    """Time in UTC or since boot, the host where it is told, and the message alone."""
    line, when, host = SPELLINGS[name]
    found = parse_line(line, WRITTEN)

    assert (found.message, found.host, found.from_kernel) == (XID, host, True)
    if when is None:
        assert found.boot_ns == 4909922970000
    else:
        moment = datetime.datetime.fromisoformat(f"{when}+00:00")
        assert found.time_ns == round(moment.timestamp() * 1000) * 10**6
    assert kernel_log.recognises(line.encode() + b"\n")


@pytest.mark.parametrize("text", [
    b"2026-02-20T16:24:18 INFO step 3 loss 2.1\n", b"[    10.423] (**) Option \"config_info\"\n", b"hello\n", b"", b"\x80\x02}.",
    b"Feb 20 16:24:18 node1 sshd[12]: Accepted publickey\n", b"[2026-02-20 16:24:18] starting\n", b'{"kind": "log"}\n',
])
def test_other_logs_are_not_taken_for_it(text):
    """Training logs, X, programs in syslog."""
    assert not kernel_log.recognises(text)


def test_lines_become_logs_and_errors_events(tmp_path):
    """The UUID comes from the driver's line; the same error in the same minute is one event; lines of other programs tell none."""
    path = tmp_path / "kern.log"
    path.write_text("\n".join([
        "Feb 20 16:24:10 node1 kernel: NVRM: GPU at PCI:0000:9b:00: GPU-0a1b2c3d-1111-2222-3333-444455556666",
        f"Feb 20 16:24:18 node1 kernel: {XID}", f"Feb 20 16:24:19 node1 kernel: {XID}", f"Feb 20 16:25:19 node1 kernel: {XID}",
        f"Feb 20 16:25:20 node2 kernel: {XID}", f"Feb 20 16:25:21 node1 logger[7]: {XID}"]) + "\n")
    reading, logs, events = read(path)

    assert (reading.reader, reading.records, reading.rejected) == ("kernel_log", 9, 0)
    assert [(one["host.name"], str(one["@timestamp"])[11:19], dict(one["labels"]).get("gpu.uuid", "")[:8]) for one in events] == [
        ("node1", "16:24:18", "GPU-0a1b"), ("node1", "16:25:19", "GPU-0a1b"), ("node2", "16:25:20", "")]
    assert [one["log.file.path"] for one in logs] == ["/dev/kmsg"] * 5 + [None]
    assert dict(events[0]["labels"])["log.message"] == XID


def test_what_follows_a_line_belongs_to_it(tmp_path):
    """Stacks without a time; what stands before the first line is set aside."""
    path = tmp_path / "dmesg"
    path.write_text("garbage\n[    1.000000] one\n   continued\n[    2.000000] two\n")
    reading, logs, _ = read(path)

    assert (reading.rejected, [one["message"] for one in logs]) == (1, ["one", "   continued", "two"])
    assert "seconds since boot" in reading.notes[0]


def test_a_compressed_log_is_read(tmp_path):
    """As logrotate leaves them."""
    path = tmp_path / "kern.log.1.gz"
    path.write_bytes(gzip.compress(f"[    1.000000] {XID}\n".encode()))

    assert [one["event.action"] for one in read(path)[2]] == ["gpu_error"]


@settings(max_examples=50)
@given(st.lists(st.sampled_from([line for line, _, _ in SPELLINGS.values()] + ["x", "", "\x00\xff"]), max_size=6), st.data())
def test_every_part_of_a_log_is_read(lines, data):
    """Every prefix and every mixture of spellings, line by line."""
    text = "\n".join(lines)
    cut = text[: data.draw(st.integers(0, len(text)))]
    kernel_log.recognises(cut.encode("utf-8", "replace"))
    for line in cut.split("\n"):
        found = parse_line(line, WRITTEN)
        assert found is None or isinstance(found.message, str)


@given(st.text(max_size=200))
def test_any_line_is_taken_apart_or_refused(text):
    """Dates that do not exist, numbers that are too large."""
    for line in (text, f"Feb 31 25:61:61 {text} kernel: x", f"[Fri Feb 31 16:24:18 9999] {text}", f"9999-99-99T99:99:99,1+99:99 {text}"):
        parse_line(line, WRITTEN)
