"""Which output a store URL means."""

import dataclasses
import os
import re
from pathlib import Path

from pinchpoint.clock import Clock
from pinchpoint.config import Elasticsearch
from pinchpoint.errors import StoreError, UsageError
from pinchpoint.store.es.address import Access, Address
from shippers.outputs.base import Output, Sleep
from shippers.watch.spool import safe_name

_USER = re.compile(r"(://)[^/?#]*@")


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What every output is given."""

    clock: Clock
    sleep: Sleep
    elasticsearch: Elasticsearch
    patience_s: float | None = None


def output_name(url: str) -> str:
    """What the folder of an output is called; no secret of the URL shows in it.

    >>> output_name("/shared/lake").rpartition("-")[0]
    '_shared_lake'
    """
    return safe_name(_USER.sub(r"\1", url).partition("?")[0] if "namespace=" not in url else _USER.sub(r"\1", url))


def open_output(url: str, state: Path, around: Surroundings) -> Output:
    """The output of a store URL, with its folder below `state`.

    Raises: UsageError for a URL or settings that cannot be meant; StoreError for what cannot be used on this host.
    """
    name = output_name(url)
    folder = state / "outputs" / name
    if url.startswith(("http://", "https://")):
        from shippers.outputs.elastic import ElasticOutput

        return ElasticOutput(name, Address.parse(url), folder, clock=around.clock, sleep=around.sleep,
                             read_access=lambda: Access.read(around.elasticsearch), patience_s=around.patience_s)
    if url == "memory:":
        raise UsageError("ship.outputs: a store in memory ends with the agent: name a folder or a server")
    scheme, colon, _ = url.partition("://")
    if colon and scheme not in ("file", "s3", "gs"):
        raise UsageError(f"ship.outputs: expected a path, s3://…, gs://… or https://…, got {url!r}")
    from shippers.outputs.lake import LakeOutput

    return LakeOutput(name, url, folder, clock=around.clock, sleep=around.sleep, patience_s=around.patience_s)


def check_output(url: str, around: Surroundings) -> str | None:
    """What speaks against an output, without sending anything; None when nothing does."""
    try:
        if url.startswith(("http://", "https://")):
            from shippers.outputs.door import HttpDoor

            door = HttpDoor(Address.parse(url).server, lambda: Access.read(around.elasticsearch))
            try:
                alive = door.is_alive()
            finally:
                door.close()
            return None if alive else f"{Address.parse(url).server} does not answer"
        open_output(url, Path(os.devnull), around)
        from shippers.outputs.lake import LANDING

        if "://" not in url or url.startswith("file://"):
            return _unwritable(Path(url.removeprefix("file://")).expanduser() / LANDING)
    except (UsageError, StoreError) as error:
        return str(error)
    return None


def _unwritable(folder: Path) -> str | None:
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return None
    return f"cannot write to {nearest}"
