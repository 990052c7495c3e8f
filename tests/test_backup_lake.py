"""Backups of a lake: made while it is written to, put back whole, refused when damaged."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from provoked import BEGIN, analyse, everything, provoke
from small_disks import make_read_only

from pinchpoint import cli, records
from pinchpoint.backup import contents
from pinchpoint.backup.lake import back_up
from pinchpoint.clock import HeldClock
from pinchpoint.errors import StoreError
from pinchpoint.store import open_store
from pinchpoint.store.files import open_files


def run(capsys, *args):
    """Exit status, rows and talk of a command called in this process."""
    status = cli.run(cli.root, [*map(str, args), "--format", "json"])
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out else None, said.err


@pytest.fixture(scope="session")
def analysed_lake(tmp_path_factory):
    """A lake with results; do not write to it, copy it."""
    home = tmp_path_factory.mktemp("provoked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        return provoke(str(home / "lake"))


@pytest.fixture
def lake(analysed_lake, tmp_path):
    """A lake with results of its own for each test."""
    shutil.copytree(analysed_lake, tmp_path / "lake")
    return tmp_path / "lake"


@pytest.mark.parametrize("records", [[], ["--with-records"]], ids=["results", "with-records"])
def test_the_restore_drill(lake, tmp_path, capsys, records):
    """What a lake answered before it was destroyed it answers after it was restored, byte for byte; analysing again changes nothing."""
    before, dest = everything(str(lake)), tmp_path / "dest"
    made = run(capsys, "backup", "--store", lake, "--to", dest, *records)
    shutil.rmtree(lake)
    dry = run(capsys, "restore", "--store", lake, "--from", dest, "--dry-run")
    untouched = not any(lake.rglob("*.json"))
    restored = run(capsys, "restore", "--store", lake, "--from", dest)
    after = everything(str(lake))
    analyse(str(lake))

    assert [made[0], dry[0], restored[0]] == [0, 0, 0]
    assert untouched
    assert (lake / "step").exists() == bool(records)
    assert {row["what"] for row in restored[1]} >= {"feature", "cause", "incidents", "labels", "watermarks"}
    assert '"confirmed"' in before
    assert after == before
    assert everything(str(lake)) == before


@pytest.mark.service
def test_the_restore_drill_on_object_storage(lake, s3_bucket, tmp_path, capsys):
    """From a disk into a bucket, and from there into a lake in a bucket."""
    before = everything(str(lake))
    made = run(capsys, "backup", "--store", lake, "--to", f"{s3_bucket}/backups")
    restored = run(capsys, "restore", "--store", f"{s3_bucket}/lake", "--from", f"{s3_bucket}/backups")
    again = run(capsys, "backup", "--store", f"{s3_bucket}/lake", "--to", tmp_path / "dest")

    assert [made[0], restored[0], again[0]] == [0, 0, 0]
    assert everything(f"{s3_bucket}/lake") == before


def test_restoring_twice_changes_nothing(lake, tmp_path, capsys):
    """What is there already is left as it is."""
    run(capsys, "backup", "--store", lake, "--to", tmp_path / "dest")
    times = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file() and path.name != "_lock"}
    status, rows, _ = run(capsys, "restore", "--store", lake, "--from", tmp_path / "dest")

    assert status == 0
    assert {row["state"] for row in rows} == {"was there"}
    assert times == {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file() and path.name != "_lock"}


def test_other_results_are_given_up_only_when_asked(lake, tmp_path, capsys):
    """A label that came later is a result too."""
    run(capsys, "backup", "--store", lake, "--to", tmp_path / "dest")
    before, store = everything(str(lake)), open_store(str(lake))
    [incident] = json.loads(before)["incidents"]
    store.label(incident["id"], "later", None, BEGIN)
    later = everything(str(lake))
    refused = run(capsys, "restore", "--store", lake, "--from", tmp_path / "dest")
    kept = everything(str(lake))
    replaced = run(capsys, "restore", "--store", lake, "--from", tmp_path / "dest", "--replace")

    assert refused[0] == 1
    assert "holds 1 files of results that are not in the backup" in refused[2]
    assert kept == later
    assert (replaced[0], everything(str(lake))) == (0, before)


DAMAGES = {
    "a flipped byte": (lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]), "its checksum differs"),
    "a missing file": (Path.unlink, "is missing"),
    "a file cut short": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "its checksum differs"),
    "a link to elsewhere": (lambda path: (path.rename(path.parents[4] / "moved"), path.symlink_to(path.parents[4] / "moved")),
                            "symbolic link"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_is_not_restored(lake, tmp_path, capsys, damage):
    """The file is named, and nothing was written."""
    run(capsys, "backup", "--store", lake, "--to", tmp_path / "dest")
    [victim] = (tmp_path / "dest").glob("*/lake/cause/*/*.parquet")
    DAMAGES[damage][0](victim)
    status, _, said = run(capsys, "restore", "--store", tmp_path / "new", "--from", tmp_path / "dest")

    assert status == 1
    assert str(victim) in said
    assert DAMAGES[damage][1] in said
    assert not [path for path in (tmp_path / "new").rglob("*") if path.name != "_lock"]


@pytest.mark.parametrize("path", ["lake/../../evil", "/etc/evil", "lake/cause/../../../evil", "evil", "lake/_lock", "lake/cause/a\x00b",
                                  "settings/../evil", "lake/cause//x", "lake/_set_aside/x"])
def test_a_manifest_that_points_elsewhere_is_refused(lake, tmp_path, capsys, path):
    """No path of a manifest leads out of the folders of a lake."""
    run(capsys, "backup", "--store", lake, "--to", tmp_path / "dest")
    [manifest] = (tmp_path / "dest").glob("*/manifest.json")
    about = json.loads(manifest.read_text())
    about["files"].append({**about["files"][0], "path": path})
    manifest.write_text(json.dumps(about))
    status, _, said = run(capsys, "restore", "--store", tmp_path / "new", "--from", tmp_path / "dest")

    assert status == 1
    assert "tampered with" in said
    assert not (tmp_path / "new").exists()


def test_a_link_in_the_lake_is_not_followed(lake, tmp_path, capsys):
    """Restoring never writes outside the lake it is given."""
    run(capsys, "backup", "--store", lake, "--to", tmp_path / "dest")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "cause").symlink_to(tmp_path / "elsewhere")
    status, _, said = run(capsys, "restore", "--store", tmp_path / "new", "--from", tmp_path / "dest")

    assert status == 1
    assert "symbolic link" in said
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_backup_that_was_killed_is_refused_and_finished_by_the_next(lake, tmp_path, capsys):
    """Kill -9 at each of many moments leaves what restore refuses; the next backup goes on in the same folder."""
    before, dest = everything(str(lake)), tmp_path / "dest"
    script = (f"import os, signal, sys\nleft = int(sys.argv[1])\nreal = os.replace\n"
              "def replace(*args):\n    global left\n    left -= 1\n    if not left:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
              "    return real(*args)\nos.replace = replace\nfrom pinchpoint import cli\n"
              f"sys.exit(cli.run(cli.root, ['backup', '--store', {str(lake)!r}, '--to', {str(dest)!r}]))\n")
    for moment in (1, 2, 5):
        done = subprocess.run([sys.executable, "-c", script, str(moment)], capture_output=True, timeout=60)
        refused = run(capsys, "restore", "--store", tmp_path / "new", "--from", dest)

        assert done.returncode == -signal.SIGKILL
        assert refused[0] == 1
        assert "was not finished" in refused[2] or "there is no backup" in refused[2]
    listed = run(capsys, "backup", "--store", lake, "--to", dest, "--list")
    finished = run(capsys, "backup", "--store", lake, "--to", dest)
    run(capsys, "restore", "--store", tmp_path / "new", "--from", dest)

    assert [row["state"] for row in listed[1]] == ["not finished"]
    assert finished[1][0]["name"] == listed[1][0]["name"]
    assert everything(str(tmp_path / "new")) == before


def test_what_is_there_is_not_copied_again(lake, tmp_path):
    """An unfinished backup that only lacks its manifest is read, not written."""
    source, place, clock = open_files(str(lake)), open_files(str(tmp_path / "dest")), HeldClock()
    first = back_up(source, place, clock, lambda by: None)
    (tmp_path / "dest" / first.name / "manifest.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "dest").glob("*/lake/**/*.*")}
    second = back_up(source, place, clock, lambda by: None)

    assert second == first
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "dest").glob("*/lake/**/*.*")}


def test_a_full_disk_is_said_and_gone_on_from(lake, small_disk, capsys):
    """Half a backup on a full disk is no backup, and it is finished when there is room."""
    disk = small_disk("2m")
    (disk / "ballast").write_bytes(b"x" * ((2 << 20) - 20480))
    full = run(capsys, "backup", "--store", lake, "--to", disk / "dest")
    refused = run(capsys, "restore", "--store", disk / "new", "--from", disk / "dest")
    (disk / "ballast").unlink()
    finished = run(capsys, "backup", "--store", lake, "--to", disk / "dest")

    assert full[0] == 1
    assert "No space left on device" in full[2]
    assert "Make room there and call the same again" in full[2]
    assert refused[0] == 1
    assert finished[0] == 0


def test_a_place_that_may_not_be_written(lake, small_disk, capsys):
    """Said in a sentence."""
    disk = small_disk("1m")
    make_read_only(disk)
    status, _, said = run(capsys, "backup", "--store", lake, "--to", disk / "dest")

    assert status == 1
    assert "Read-only file system" in said


def test_old_backups_are_deleted(lake, tmp_path, capsys):
    """The newest stay; those that were not finished are none."""
    names = [run(capsys, "backup", "--store", lake, "--to", tmp_path / "dest")[1][0]["name"] for _ in range(3)]
    status, rows, said = run(capsys, "backup", "--store", lake, "--to", tmp_path / "dest", "--keep", "2")
    listed = run(capsys, "backup", "--store", lake, "--to", tmp_path / "dest", "--list")[1]

    assert status == 0
    assert f"Deleted 2 older: {', '.join(names[:2])}." in said
    assert [row["name"] for row in listed] == [names[2], rows[0]["name"]]
    assert sorted(path.name for path in (tmp_path / "dest").iterdir() if path.name[0] != "_") == [names[2], rows[0]["name"]]


def test_a_backup_inside_the_lake_is_refused(lake, capsys):
    """What destroys one would destroy both."""
    status, _, said = run(capsys, "backup", "--store", lake, "--to", lake / "backups")

    assert status == 2
    assert "lies inside the lake" in said


def test_settings_go_along_without_secrets(lake, tmp_path, monkeypatch, capsys):
    """The file comes back where there is none; one with a secret in it stays at home, and so does every file of keys."""
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "pinchpoint.toml"
    settings.write_text(f'store = "{lake}"\n[elasticsearch]\napi_key_file = "es.key"\n')
    (tmp_path / "es.key").write_text("very-secret")
    run(capsys, "backup", "--to", tmp_path / "dest")
    settings.unlink()
    status, _, said = run(capsys, "restore", "--store", tmp_path / "new", "--from", tmp_path / "dest")
    written = Path(os.environ["XDG_CONFIG_HOME"]) / "pinchpoint" / "pinchpoint.toml"
    settings.write_text('store = "s3://key:very-secret@bucket/lake"\n')
    left_out = run(capsys, "backup", "--store", lake, "--to", tmp_path / "other")

    assert status == 0
    assert f"Settings: written to {written}" in said
    assert 'api_key_file = "es.key"' in written.read_text()
    assert left_out[0] == 0
    assert "holds a secret (store), so it was left out" in left_out[2]
    everywhere = [path for path in [*(tmp_path / "dest").rglob("*"), *(tmp_path / "other").rglob("*")] if path.is_file()]
    assert not [path for path in everywhere if b"very-secret" in path.read_bytes()]


def test_backups_made_while_segments_are_written_again(tmp_path):
    """Each holds one version of a segment whole, whichever hours it moves to, also while it is joined."""
    root, done = str(tmp_path / "lake"), threading.Event()
    hour = 3_600_000_000_000

    def write():
        store = open_store(root)
        for number in range(1, 40):
            count = 1 + number % 3
            times = [BEGIN + hour * ((number + place) % 4) for place in range(count)]
            store.append("feature", records.batch("feature", {"@timestamp": times, "event.id": [f"e{one}" for one in range(count)],
                                                              "window_s": [float(number)] * count}), "s1")
            if number % 7 == 0:
                store.compact()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen, number = [], 0
    while not done.is_set():
        number += 1
        with contextlib.suppress(StoreError):
            made = back_up(open_files(root), open_files(str(tmp_path / f"dest{number}")), HeldClock(), lambda by: None)
            seen.append(tmp_path / f"dest{number}" / made.name / "lake")
    writer.join()

    assert len(seen) > 2
    for folder in seen:
        store = open_store(str(folder))
        values = [row["window_s"] for split in store.splits("feature") for batch in store.read(split) for row in batch.to_pylist()]
        assert len(set(values)) <= 1
        assert not values or len(values) == 1 + int(values[0]) % 3


def test_listing_notices_what_was_replaced(tmp_path):
    """Files that go away between the two listings are no moment of the lake."""
    store = open_store(str(tmp_path))
    store.append("feature", records.batch("feature", {"@timestamp": [BEGIN], "event.id": ["a"]}), "s1")
    files = open_files(str(tmp_path))

    class Replaced:
        """Writes the segment again after the first listing."""

        def __init__(self):
            self.listings = 0

        def __getattr__(self, name):
            return getattr(files, name)

        def folders(self, folder):
            self.listings += 1
            if self.listings == 2:
                store.append("feature", records.batch("feature", {"@timestamp": [BEGIN], "event.id": ["a"]}), "s1")
            return files.folders(folder)

    with pytest.raises(FileNotFoundError, match="were replaced"):
        contents.segments(Replaced(), "feature")
    assert len(contents.segments(files, "feature")) == 1


@pytest.mark.parametrize(("args", "words"), [
    (["backup"], "say where backups lie: --to DEST"), (["restore", "--from", "x", "--repository", "y"], "say where backups lie: --from"),
    (["backup", "--store", "lake", "--repository", "y"], "a lake has no snapshot repository"),
    (["backup", "--store", "memory:", "--to", "x"], "nothing to back up"),
])
def test_wrong_usage(args, words, capsys):
    """Told with exit status 2."""
    assert cli.run(cli.root, args) == 2
    assert words in capsys.readouterr().err


def test_restoring_from_nowhere(tmp_path, capsys):
    """No backup there, or none of that name, is a sentence with the next step."""
    nothing = run(capsys, "restore", "--store", tmp_path / "lake", "--from", tmp_path / "dest")
    named = run(capsys, "restore", "--store", tmp_path / "lake", "--from", tmp_path / "dest", "--backup", "x")

    assert (nothing[0], named[0]) == (1, 1)
    assert "there is no backup in" in nothing[2]
    assert "there is no backup x in" in named[2]
