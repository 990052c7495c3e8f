"""Turn what Git hosts and Jenkins post into events, without the people in it."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pinchpoint.clock import NS, parse_time

_MOST_TEXT = 500
_CONFIGURATION = frozenset((".cfg", ".conf", ".env", ".ini", ".json", ".properties", ".toml", ".yaml", ".yml"))
_NOTHING = "0" * 40
#: States of a deployment in which something has changed.
_DEPLOYED = frozenset(("success", "failure", "error", "inactive", "failed", "canceled"))


class Change(NamedTuple):
    """What happened."""

    action: str
    reason: str
    labels: dict[str, str]
    time_ns: int | None = None
    """When, where the host says so."""
    identity: tuple[str, ...] | None = None
    """What makes two of them the same; None: their content."""


def github_change(event: str, payload: Mapping[str, Any]) -> Change | None:
    """A push, deployment or release of GitHub, and of Gitea, which speaks alike; None for anything else."""
    repository = text(payload, "repository", "full_name")
    match event:
        case "push":
            return _push(payload, repository, _epoch(payload, "repository", "pushed_at"))
        case "deployment_status" if text(payload, "deployment_status", "state") in _DEPLOYED:
            state, environment = text(payload, "deployment_status", "state"), text(payload, "deployment", "environment")
            return Change("deploy", f"deployment of {repository} to {environment}: {state}", _labels(
                repository=repository, ref=text(payload, "deployment", "ref"), sha=text(payload, "deployment", "sha"),
                environment=environment, status=state), _time(payload, "deployment_status", "updated_at"))
        case "release" if text(payload, "action") == "published":
            tag = text(payload, "release", "tag_name")
            return Change("release", f"release {tag} of {repository}", _labels(repository=repository, ref=tag),
                          _time(payload, "release", "published_at"))
    return None


def gitlab_change(event: str, payload: Mapping[str, Any]) -> Change | None:
    """A push, deployment or release of GitLab; None for anything else."""
    repository = text(payload, "project", "path_with_namespace")
    match event:
        case "Push Hook" | "Tag Push Hook":
            return _push(payload, repository, None)
        case "Deployment Hook" if text(payload, "status") in _DEPLOYED:
            status, environment = text(payload, "status"), text(payload, "environment")
            return Change("deploy", f"deployment of {repository} to {environment}: {status}", _labels(
                repository=repository, ref=text(payload, "ref"), sha=text(payload, "short_sha"), environment=environment, status=status),
                _time(payload, "status_changed_at"))
        case "Release Hook" if text(payload, "action") == "create":
            tag = text(payload, "tag")
            return Change("release", f"release {tag} of {repository}", _labels(
                repository=repository, ref=tag, sha=text(payload, "commit", "id")), _time(payload, "released_at"))
    return None


def jenkins_change(payload: Mapping[str, Any]) -> Change | None:
    """A build that ended, of the notification plugin of Jenkins; None for one that begins.

    That plugin tells of an end twice, as completed and as finalized: both are one event.
    """
    name, status, number = text(payload, "name"), text(payload, "build", "status"), text(payload, "build", "number")
    if text(payload, "build", "phase") not in ("COMPLETED", "FINALIZED") or not name or not number:
        return None
    return Change("deploy" if status == "SUCCESS" else "build_failed", f"build {number} of {name}: {status}", _labels(
        job=name, build=number, status=status.lower(), ref=text(payload, "build", "scm", "branch"),
        sha=text(payload, "build", "scm", "commit")), identity=(name, number, status))


def _push(payload: Mapping[str, Any], repository: str, time_ns: int | None) -> Change | None:
    ref, sha = text(payload, "ref"), text(payload, "after")
    if not ref or not sha or sha == _NOTHING:
        return None  # a branch was deleted: nothing runs otherwise for that
    paths = list(_paths(payload))
    only_configuration = bool(paths) and all(
        PurePosixPath(path).suffix in _CONFIGURATION or PurePosixPath(path).name.startswith(".env") for path in paths)
    return Change("config" if only_configuration else "push", f"push to {ref} of {repository}", _labels(
        repository=repository, ref=ref, sha=sha), time_ns)


def _paths(payload: Mapping[str, Any]) -> Iterator[str]:
    commits = payload.get("commits")
    for commit in commits if isinstance(commits, list) else ():
        for what in ("added", "removed", "modified"):
            paths = commit.get(what) if isinstance(commit, dict) else None
            yield from (path for path in (paths if isinstance(paths, list) else ()) if isinstance(path, str))


def text(payload: Any, *keys: str) -> str:
    """The text or number under keys; empty where there is none.

    >>> text({"a": {"b": 3}}, "a", "b"), text({"a": []}, "a", "b")
    ('3', '')
    """
    for key in keys:
        payload = payload.get(key) if isinstance(payload, dict) else None
    if isinstance(payload, str):
        return payload[:_MOST_TEXT]
    return str(payload) if isinstance(payload, int) and not isinstance(payload, bool) else ""


def _labels(**given: str) -> dict[str, str]:
    return {name: value for name, value in given.items() if value}


def _epoch(payload: Mapping[str, Any], *keys: str) -> int | None:
    seconds = text(payload, *keys)
    return int(seconds) * NS if seconds.isascii() and seconds.isdigit() and len(seconds) < 11 else None


def _time(payload: Mapping[str, Any], *keys: str) -> int | None:
    # GitLab writes 2026-01-01 12:00:00 +0200
    given = text(payload, *keys).replace(" +", "+").replace(" -", "-").replace(" UTC", "Z")
    try:
        return parse_time(given)
    except ValueError:
        return None
