"""Archives: the files inside are read, bombs and tricks are not."""

import contextlib
import io
import tarfile
import zipfile

import pytest

from pinchpoint.errors import InputError
from shippers.formats import archive, open_input

LOG = b"[    1.000000] NVRM: Xid (PCI:0000:9b:00): 79, GPU has fallen off the bus.\n"
PS = b"    PID   RSS COMMAND\n      7  1000 python\n"


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)


def tarred(path, files, mode="w"):
    with tarfile.open(path, mode) as file:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))


def read(path):
    reading = open_input(path)
    return reading, [(kind, batch.num_rows) for kind, batch in reading]


@pytest.mark.parametrize("pack", [zipped, tarred, lambda path, files: tarred(path, files, "w:gz")])
def test_the_files_inside_are_read_as_what_they_are(tmp_path, pack):
    """Whatever the folders are called; one in no known format is noted with its name."""
    pack(tmp_path / "a", {"node1/../../../etc/dmesg": LOG, "node1/ps.txt": PS, "node1/notes.txt": b"hello"})
    reading, found = read(tmp_path / "a")

    assert (reading.reader, sorted(found)) == ("archive", [("event", 1), ("log", 1), ("metric", 1)])
    assert any(note.startswith("node1/notes.txt: in no known format") for note in reading.notes)
    assert not (tmp_path.parent / "etc").exists()


def test_a_bomb_is_stopped(tmp_path):
    """Where it has unpacked to far more than its size."""
    zipped(tmp_path / "a.zip", {"x": b"0" * (80 << 20)})
    tarred(tmp_path / "a.tgz", {"x": b"0" * (80 << 20)}, "w:gz")

    for name in ("a.zip", "a.tgz"):
        with pytest.raises(InputError, match=r"unpacks to|damaged"):
            read(tmp_path / name)


def test_links_and_archives_inside_are_not_followed(tmp_path):
    """They could lead out, or go on for ever."""
    zipped(tmp_path / "inner.zip", {"dmesg": LOG})
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        link = tarfile.TarInfo("passwd")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
        file.add(tmp_path / "inner.zip", "inner.zip")
    reading, found = read(tmp_path / "a.tar")

    assert (found, reading.notes) == ([], ["inner.zip: an archive in an archive is not read"])


def test_a_header_without_end_is_refused(tmp_path):
    """As of a name of many megabytes, which would be held in memory."""
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as file:
        member = tarfile.TarInfo("x")
        member.pax_headers = {"comment": "x" * (20 << 20)}
        file.addfile(member)

    with pytest.raises(InputError, match="header"):
        read(tmp_path / "a.tar")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_every_prefix_is_read_or_refused(tmp_path, pack):
    """What was cut in the middle of a download."""
    pack(tmp_path / "whole", {"dmesg": LOG * 20, "ps": PS})
    whole = (tmp_path / "whole").read_bytes()
    for size in range(0, len(whole), max(len(whole) // 40, 1)):
        (tmp_path / "cut").write_bytes(whole[:size])
        with contextlib.suppress(InputError):
            read(tmp_path / "cut")
    assert archive.recognises(whole)
