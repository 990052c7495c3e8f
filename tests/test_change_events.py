"""Change events: files dropped into a folder, and what Git hosts and Jenkins post."""

import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from source_spool import Spool

from pinchpoint.clock import NS, SYSTEM_CLOCK, HeldClock
from pinchpoint.errors import ConfigError, UsageError
from shippers.redact import Redactor
from shippers.sources.event_folder import EventFolder
from shippers.sources.webhook import WebhookReceiver

SECRET = b"0123456789abcdef"
NOW_NS = HeldClock().now_ns()


def folder_at(path: Path, clock: HeldClock | None = None) -> tuple[EventFolder, Spool]:
    spool = Spool()
    return EventFolder(path, push=spool.push, redact=Redactor(), host="h", clock=clock or HeldClock()), spool


def drop(folder: Path, name: str, content: bytes | dict[str, Any], *, age_s: float = 60.0) -> None:
    path = folder / name
    path.write_bytes(json.dumps(content).encode() if isinstance(content, dict) else content)
    os.utime(path, ns=(NOW_NS - int(age_s * NS),) * 2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_a_dropped_file_becomes_an_event_and_is_moved(tmp_path: Path) -> None:
    """Our fields keep their names, other keys become labels, secrets are taken out, the time is that of the file."""
    watched, spool = folder_at(tmp_path / "events")
    drop(tmp_path / "events", "a.json",
         {"event.action": "deploy", "event.reason": "image password=hunter2", "run.id": "r", "rank": 3, "service": "trainer",
          "replicas": 4, "labels": {"zone": "a"}})
    drop(tmp_path / "events", "b.json", {"event.action": "config", "@timestamp": "2026-01-01T12:00:00Z", "host.name": "other"})
    drop(tmp_path / "events", "notes.txt", b"ignored")
    watched.poll()
    watched.poll()

    first, second = spool.documents()
    assert first.pop("event.id") == spool.items[0].id
    assert first == {"@timestamp": "2025-12-31T23:59:00Z", "event.action": "deploy", "event.reason": "image password=[redacted]",
                     "run.id": "r",
                     "rank": 3, "host.name": "h", "labels": {"service": "trainer", "replicas": "4", "zone": "a"}}
    assert (second["@timestamp"], second["host.name"], spool.items[1].kind) == ("2026-01-01T12:00:00Z", "other", "event")
    assert (names(tmp_path / "events"), names(tmp_path / "events/done")) == (["notes.txt"], ["a.json", "b.json"])
    assert watched.counters() == {"events.taken": 2.0, "events.bad": 0.0, "events.failed": 0.0}


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b'"x"', b"\xff", {"event.reason": "x"}, {"event.action": " "}, {"event.action": 3},
    {"event.action": "a", "rank": "x"},
    {"event.action": "a", "@timestamp": "yesterday"}, {"event.action": "a", "@timestamp": 3}, {"event.action": "a", "kind": "log"},
    b'{"event.action":"a","x":"' + b"y" * 70_000 + b'"}', b"[" * 60_000,
])
def test_a_file_that_is_no_event_is_set_aside(tmp_path: Path, content: bytes | dict[str, Any]) -> None:
    """It is moved to bad/ and counted, and the next file is taken."""
    watched, spool = folder_at(tmp_path)
    drop(tmp_path, "a.json", content)
    drop(tmp_path, "b.json", {"event.action": "deploy"})
    watched.poll()

    assert (names(tmp_path), names(tmp_path / "bad"), names(tmp_path / "done")) == ([], ["a.json"], ["b.json"])
    assert watched.counters()["events.bad"] == len(spool.items) == 1


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """Half a file is bad only when it stays so."""
    clock = HeldClock()
    watched, spool = folder_at(tmp_path, clock)
    drop(tmp_path, "a.json", b'{"event.action":', age_s=0.0)
    watched.poll()
    assert names(tmp_path) == ["a.json"]
    drop(tmp_path, "a.json", b'{"event.action": "deploy"}', age_s=0.0)
    watched.poll()
    assert [document["event.action"] for document in spool.documents()] == ["deploy"]

    drop(tmp_path, "b.json", b"{", age_s=0.0)
    clock.advance(6.0)
    watched.poll()
    assert names(tmp_path / "bad") == ["b.json"]


def test_links_pipes_and_folders_are_not_read(tmp_path: Path) -> None:
    """A link to a secret file is set aside unread, and a pipe does not hang the agent."""
    (tmp_path / "secret").write_text('{"event.action": "leak"}')
    folder = tmp_path / "events"
    watched, spool = folder_at(folder)
    (folder / "link.json").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    clock_ns = NOW_NS - 60 * NS
    for name in ("link.json", "pipe.json", "folder.json"):
        os.utime(folder / name, ns=(clock_ns, clock_ns), follow_symlinks=False)
    watched.poll()

    assert spool.items == []
    assert sorted(path.name for path in (folder / "bad").iterdir()) == ["folder.json", "link.json", "pipe.json"]


def test_events_wait_for_a_spool_that_takes_nothing(tmp_path: Path) -> None:
    """The file stays until it is pushed; pushed twice, it is the same event."""
    watched, spool = folder_at(tmp_path)
    drop(tmp_path, "a.json", {"event.action": "deploy"})
    spool.broken = True
    watched.poll()
    assert (names(tmp_path), watched.counters()["events.failed"]) == (["a.json"], 1.0)
    spool.broken = False
    watched.poll()
    drop(tmp_path, "a.json", {"event.action": "deploy"})
    watched.poll()

    assert len(spool.items) == 2
    assert spool.items[0] == spool.items[1]


def test_done_files_do_not_pile_up(tmp_path: Path) -> None:
    """The newest thousand are kept."""
    watched, _ = folder_at(tmp_path)
    for number in range(1100):
        drop(tmp_path / "done", f"{number:04d}.json", b"", age_s=2000 - number)
    drop(tmp_path, "new.json", {"event.action": "deploy"}, age_s=1)
    watched.poll()

    kept = names(tmp_path / "done")
    assert (len(kept), kept[0], kept[-1]) == (1000, "0101.json", "new.json")


def test_a_folder_that_cannot_be_used_is_refused_at_the_door(tmp_path: Path) -> None:
    """The setting is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"ship\.events\.watch"):
        folder_at(tmp_path / "file")


GITHUB_PUSH = {
    "ref": "refs/heads/main", "before": "a" * 40, "after": "b" * 40, "repository": {"full_name": "ml/trainer", "pushed_at": 1_790_000_000},
    "pusher": {"name": "someone", "email": "someone@example.org"}, "head_commit": {"author": {"name": "someone"}},
    "commits": [{"added": [], "removed": [], "modified": ["train.py", "conf.yaml"], "author": {"name": "someone"}}]}
GITHUB_DEPLOYMENT = {
    "deployment_status": {"state": "success", "updated_at": "2026-01-01T12:00:00Z", "creator": {"login": "someone"}},
    "deployment": {"ref": "v2", "sha": "c" * 40, "environment": "production"}, "repository": {"full_name": "ml/trainer"}}
GITHUB_RELEASE = {"action": "published",
                  "release": {"tag_name": "v2", "published_at": "2026-01-01T12:00:00Z", "author": {"login": "someone"}},
                  "repository": {"full_name": "ml/trainer"}}
GITLAB_PUSH = {"ref": "refs/heads/main", "after": "d" * 40, "user_email": "someone@example.org",
               "project": {"path_with_namespace": "ml/conf"},
               "commits": [{"added": ["values.yaml"], "modified": ["prod/.env.local"], "removed": []}]}
GITLAB_DEPLOYMENT = {"status": "success", "status_changed_at": "2026-01-01 14:00:00 +0200", "environment": "production",
                     "short_sha": "e" * 8,
                     "ref": "main", "project": {"path_with_namespace": "ml/trainer"}, "user": {"name": "someone"}}
GITLAB_RELEASE = {"action": "create", "tag": "v3", "released_at": "2026-01-01 12:00:00 UTC",
                  "project": {"path_with_namespace": "ml/trainer"},
                  "commit": {"id": "f" * 40, "author": {"name": "someone"}}}
JENKINS = {"name": "deploy-trainer", "url": "job/deploy-trainer/",
           "build": {"number": 18, "phase": "COMPLETED", "status": "SUCCESS", "scm": {"branch": "origin/main", "commit": "a1" * 20},
                     "parameters": {"TOKEN": "hunter2"}}}


@contextlib.contextmanager
def receiving() -> Iterator[tuple[WebhookReceiver, Spool]]:
    spool = Spool()
    receiver = WebhookReceiver("127.0.0.1:0", secret=SECRET, push=spool.push, redact=Redactor(), clock=SYSTEM_CLOCK)
    try:
        yield receiver, spool
    finally:
        receiver.close()


def headers_of(sender: str, event: str, body: bytes, secret: bytes = SECRET) -> dict[str, str]:
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return {"github": {"X-GitHub-Event": event, "X-Hub-Signature-256": f"sha256={signature}"},
            "gitea": {"X-Gitea-Event": event, "X-Gitea-Signature": signature},
            "gitlab": {"X-Gitlab-Event": event, "X-Gitlab-Token": secret.decode()},
            "jenkins": {"X-Jenkins-Token": secret.decode()}}[sender]


def post(receiver: WebhookReceiver, path: str, body: bytes, headers: dict[str, str]) -> int:
    return urllib3.request("POST", f"http://127.0.0.1:{receiver.port}/{path}", body=body,
                           headers={"Content-Type": "application/json", **headers}, retries=False).status


@pytest.mark.parametrize(("sender", "event", "payload", "action", "time", "labels"), [
    ("github", "push", GITHUB_PUSH, "push", "2026-09-21T14:13:20Z",
     {"repository": "ml/trainer", "ref": "refs/heads/main", "sha": "b" * 40}),
    ("github", "deployment_status", GITHUB_DEPLOYMENT, "deploy", "2026-01-01T12:00:00Z",
     {"repository": "ml/trainer", "ref": "v2", "sha": "c" * 40, "environment": "production", "status": "success"}),
    ("github", "release", GITHUB_RELEASE, "release", "2026-01-01T12:00:00Z", {"repository": "ml/trainer", "ref": "v2"}),
    ("gitea", "push", GITHUB_PUSH, "push", "2026-09-21T14:13:20Z", {"repository": "ml/trainer", "ref": "refs/heads/main", "sha": "b" * 40}),
    ("gitlab", "Push Hook", GITLAB_PUSH, "config", None, {"repository": "ml/conf", "ref": "refs/heads/main", "sha": "d" * 40}),
    ("gitlab", "Deployment Hook", GITLAB_DEPLOYMENT, "deploy", "2026-01-01T12:00:00Z",
     {"repository": "ml/trainer", "ref": "main", "sha": "e" * 8, "environment": "production", "status": "success"}),
    ("gitlab", "Release Hook", GITLAB_RELEASE, "release", "2026-01-01T12:00:00Z",
     {"repository": "ml/trainer", "ref": "v3", "sha": "f" * 40}),
    ("jenkins", "", JENKINS, "deploy", None,
     {"job": "deploy-trainer", "build": "18", "status": "success", "ref": "origin/main", "sha": "a1" * 20}),
])
def test_what_is_posted_becomes_an_event(sender: str, event: str, payload: dict[str, Any], action: str, time: str | None,
                                         labels: dict[str, str]) -> None:
    """What, where and which version; nobody's name; the time is the sender's where it tells one."""
    body = json.dumps(payload).encode()
    with receiving() as (receiver, spool):
        assert post(receiver, sender, body, headers_of(sender, event, body)) == 200
        assert post(receiver, sender, body, headers_of(sender, event, body)) == 200

    first, again = spool.documents()
    assert (first["event.action"], first["labels"]) == (action, {**labels, "event.source": sender})
    assert first["@timestamp"] == time or time is None
    assert first["event.id"] == again["event.id"]
    assert b"someone" not in spool.items[0].document
    assert b"hunter2" not in spool.items[0].document


@pytest.mark.parametrize(("sender", "event", "payload"), [
    ("github", "ping", {"zen": "x"}), ("github", "issues", {"action": "opened"}), ("github", "push", {**GITHUB_PUSH, "after": "0" * 40}),
    ("github", "push", {}), ("github", "push", {"ref": 3, "after": [], "commits": "x", "repository": None}),
    ("github", "deployment_status", {"deployment_status": {"state": "in_progress"}}), ("gitlab", "Note Hook", {}),
    ("gitlab", "Deployment Hook", {**GITLAB_DEPLOYMENT, "status": "running"}), ("jenkins", "", {"build": {"phase": "STARTED"}}),
    ("jenkins", "", {}),
])
def test_what_changes_nothing_is_no_event(sender: str, event: str, payload: dict[str, Any]) -> None:
    """It is answered as taken, so that the sender does not post it again."""
    body = json.dumps(payload).encode()
    with receiving() as (receiver, spool):
        assert post(receiver, sender, body, headers_of(sender, event, body)) == 200

    assert spool.items == []


def test_both_ends_of_a_jenkins_build_are_one_event() -> None:
    """Its plugin tells of an end as completed and as finalized; a build that failed deployed nothing."""
    with receiving() as (receiver, spool):
        for change in ({"phase": "COMPLETED"}, {"phase": "FINALIZED"}, {"number": 19, "status": "FAILURE"}):
            body = json.dumps({**JENKINS, "build": {**JENKINS["build"], **change}}).encode()  # type: ignore[dict-item]
            assert post(receiver, f"jenkins?token={SECRET.decode()}", body, {}) == 200
        assert post(receiver, "jenkins", body, {"Authorization": f"Bearer {SECRET.decode()}"}) == 200

    completed, finalized, failed, _ = spool.documents()
    assert completed["event.id"] == finalized["event.id"] != failed["event.id"]
    assert failed["event.action"] == "build_failed"


@pytest.mark.parametrize("sender", ["github", "gitea", "gitlab", "jenkins"])
def test_what_is_not_signed_with_the_secret_is_refused(sender: str) -> None:
    """A wrong secret, none, or another body than the one that was signed."""
    body = json.dumps(GITHUB_PUSH).encode()
    with receiving() as (receiver, spool):
        assert post(receiver, sender, body, headers_of(sender, "push", body, b"another-secret-16")) == 401
        assert post(receiver, sender, body, {"X-GitHub-Event": "push"}) == 401
        assert post(receiver, sender, body, {name: "é".encode().decode("latin-1") for name in headers_of(sender, "push", body)}) == 401
        if sender in ("github", "gitea"):
            assert post(receiver, sender, body + b" ", headers_of(sender, "push", body)) == 401
        assert spool.items == []


def test_faulty_posts_are_refused_by_status() -> None:
    """No JSON, no object, another content type, too large; a spool that is broken makes the sender post again."""
    with receiving() as (receiver, spool):
        for body, expected in ((b"{", 400), (b"[]", 400), (b"x" * (5 << 20), 413)):
            assert post(receiver, "github", body, headers_of("github", "push", body)) == expected
        body = json.dumps(GITHUB_PUSH).encode()
        given = headers_of("github", "push", body)
        assert post(receiver, "github", body, {**given, "Content-Type": "application/x-www-form-urlencoded"}) == 415
        assert post(receiver, "bitbucket", body, given) == 404
        spool.broken = True
        assert post(receiver, "github", body, given) == 503
        assert receiver.counters() == {"events.http.answers_2xx": 0.0, "events.http.answers_4xx": 5.0, "events.http.answers_5xx": 1.0}


def test_a_weak_secret_and_a_bad_address_are_refused_at_the_door() -> None:
    """An empty secret would sign everything."""
    def start(listen: str, secret: bytes) -> None:
        WebhookReceiver(listen, secret=secret, push=Spool().push, redact=Redactor(), clock=SYSTEM_CLOCK)

    with pytest.raises(ConfigError, match=r"ship\.events\.secret_file"):
        start("127.0.0.1:0", b"")
    with pytest.raises(UsageError, match="expected an IP address"):
        start("nowhere", SECRET)
