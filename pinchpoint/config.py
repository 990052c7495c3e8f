"""Settings from `pinchpoint.toml`, complete and checked before anything runs."""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pinchpoint import fields
from pinchpoint.errors import ConfigError
from pinchpoint.settings import BadValueError, nearest, number, path, paths, setting, store_url, text
from pinchpoint.ship_settings import Ship

FILE_NAME = "pinchpoint.toml"


def _days(value: Any, folder: Path) -> Mapping[str, float]:
    if not isinstance(value, dict):
        raise BadValueError(f"expected a table of kinds of record and days, got {value!r}")
    days = dict(_DEFAULT_DAYS)
    for kind, given in value.items():
        if kind not in days:
            raise BadValueError(f"unknown kind of record, {nearest(kind, days)}", f".{kind}")
        try:
            days[kind] = number(0)(given, folder)
        except BadValueError as error:
            raise BadValueError(str(error), f".{kind}") from error
    return MappingProxyType(days)


_DEFAULT_DAYS = MappingProxyType(dict.fromkeys(fields.KINDS, 30.0))


@dataclasses.dataclass(frozen=True, slots=True)
class Analysis:
    """How records become findings."""

    window_s: float = setting(10.0, "length of the windows that features are made of", number(0))
    lateness_s: float = setting(600.0, "how long a window waits for late records before it counts as complete", number(0))
    min_slowdown: float = setting(1.2, "smallest ratio of a step time to its baseline that is worth an incident", number(1))


@dataclasses.dataclass(frozen=True, slots=True)
class Causes:
    """What the catalogue of causes holds beside the causes that come with pinchpoint."""

    paths: tuple[Path, ...] = setting((), "your own cause files; relative paths start at the folder of this file", paths)


@dataclasses.dataclass(frozen=True, slots=True)
class Elasticsearch:
    """How to get into the Elasticsearch that `--store https://…` names; the environment, `PINCHPOINT_ES_…`, counts first."""

    api_key_file: Path | None = setting(None, "file that holds an API key in one line", path)
    username: str | None = setting(None, "user, where there is no API key", text)
    password_file: Path | None = setting(None, "file that holds the password of the user in one line", path)
    ca_file: Path | None = setting(None, "certificate of the authority that signed the server's, PEM", path)
    ca_fingerprint: str | None = setting(None, "SHA-256 fingerprint of that certificate, in the place of the file", text)


@dataclasses.dataclass(frozen=True, slots=True)
class Retention:
    """How long a store keeps records."""

    days: Mapping[str, float] = setting(_DEFAULT_DAYS, "days by kind of record; a kind that is not named keeps its 30", _days)


@dataclasses.dataclass(frozen=True, slots=True)
class Watch:
    """What `pinchpoint watch` does beside running the command."""

    interval_s: float = setting(1.0, "time between two readings of host, disks, processes and limits", number(0))


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """All settings, with the file they came from."""

    store: str | None = setting(None, "where records are kept; a relative path starts at the folder of this file", store_url)
    analysis: Analysis = dataclasses.field(default_factory=Analysis)
    causes: Causes = dataclasses.field(default_factory=Causes)
    elasticsearch: Elasticsearch = dataclasses.field(default_factory=Elasticsearch)
    retention: Retention = dataclasses.field(default_factory=Retention)
    ship: Ship = dataclasses.field(default_factory=Ship)
    watch: Watch = dataclasses.field(default_factory=Watch)
    source: Path | None = None
    """The file that was read; None when there is none. No setting."""


SECTIONS: dict[str, type] = {"analysis": Analysis, "causes": Causes, "elasticsearch": Elasticsearch, "retention": Retention, "ship": Ship,
                             "watch": Watch}


def default_url() -> str:
    """The lake that is used when nobody names a store: `$XDG_DATA_HOME/pinchpoint/lake`."""
    import platformdirs

    return str(platformdirs.user_data_path("pinchpoint") / "lake")


def find(explicit: Path | None = None, environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> Path | None:
    """The configuration file that counts: `--config`, $PINCHPOINT_CONFIG, ./pinchpoint.toml, that of the user; None without one.

    Args:
        explicit: what `--config` says.
        environ: the environment to look in.
        folder: where `./` is; None for the working directory.
    """
    if explicit is not None:
        return explicit
    if environ.get("PINCHPOINT_CONFIG"):
        return Path(environ["PINCHPOINT_CONFIG"])
    here = (folder or Path.cwd()) / FILE_NAME
    if here.is_file():
        return here
    import platformdirs

    of_user = platformdirs.user_config_path("pinchpoint") / FILE_NAME
    return of_user if of_user.is_file() else None


def load(explicit: Path | None = None, environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> Config:
    """All settings: the defaults, and the values of the file that `find` finds over them.

    Raises: ConfigError for a file that cannot be read, an unknown setting or a bad value, with its place and the file.
    """
    file = find(explicit, environ, folder)
    if file is None:
        return Config()
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file {file}; see --config and $PINCHPOINT_CONFIG") from error
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {file}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} is no TOML file: {error}") from error
    return parse(table, file)


def parse(table: dict[str, Any], source: Path) -> Config:
    """Settings from a parsed file.

    Raises: ConfigError for an unknown setting or a bad value.
    """
    given = dict(table)
    sections = {name: _section(kind, name, given.pop(name), source) for name, kind in SECTIONS.items() if name in given}
    top = _values(Config, "", given, source, [*SECTIONS, "store"])
    return Config(**sections, **top, source=source)


def _section(kind: type, name: str, table: Any, source: Path) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"{name}: expected a table [{name}], got {table!r} (in {source})")
    return kind(**_values(kind, f"{name}.", table, source, [field.name for field in dataclasses.fields(kind)]))


def _values(kind: type, prefix: str, table: dict[str, Any], source: Path, known: list[str]) -> dict[str, Any]:
    readers = {field.name: field.metadata["read"] for field in dataclasses.fields(kind) if "read" in field.metadata}
    values = {}
    for name, value in table.items():
        if name not in readers:
            raise ConfigError(f"{prefix}{name}: unknown setting, {nearest(name, known, prefix)} (in {source})")
        try:
            values[name] = readers[name](value, source.absolute().parent)
        except BadValueError as error:
            raise ConfigError(f"{prefix}{name}{error.below}: {error} (in {source})") from error
    return values
