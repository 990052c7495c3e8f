"""Which checks a store wants, by its URL."""

from collections.abc import Callable, Iterable

from pinchpoint.doctor.check import Check, Subject
from pinchpoint.doctor.examine import Look
from pinchpoint.errors import UsageError


def at_the_door(subject: Subject) -> tuple[Callable[[dict[str, Look]], Iterable[Check]], dict[str, Look]]:
    """The check that comes first, which adds what can be looked at behind the door to what it is given; and those that need no door.

    Raises: UsageError for a URL of no store that could be looked at.
    """
    url = subject.store or ""
    if url == "memory:":
        raise UsageError("the store in memory ends with each command, there is nothing to look at: --store URL")
    if url.startswith(("http://", "https://")):
        return _elastic(url, subject)
    return _lake(url, subject)


def _elastic(url: str, subject: Subject) -> tuple[Callable[[dict[str, Look]], Iterable[Check]], dict[str, Look]]:
    from pinchpoint.doctor import elastic, server

    def knock(behind: dict[str, Look]) -> Iterable[Check]:
        reached, checks = server.reach(url, subject.config)
        if reached is not None:
            behind.update(elastic.of_server(reached, subject))
        return checks

    try:
        return knock, elastic.of_host(url, subject)
    except UsageError:  # knocking says why
        return knock, {}


def _lake(url: str, subject: Subject) -> tuple[Callable[[dict[str, Look]], Iterable[Check]], dict[str, Look]]:
    from pinchpoint.doctor import lake

    def knock(behind: dict[str, Look]) -> Iterable[Check]:
        files, checks = lake.reach(url)
        if files is not None:
            behind.update(lake.of_lake(files, subject))
        return checks

    return knock, {}
