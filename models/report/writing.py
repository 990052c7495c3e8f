"""Write pages to files."""

from pathlib import Path
from typing import Any

from models.causes import load
from models.report.incident_page import incident_page, verdict_page
from pinchpoint.config import Config
from pinchpoint.store import Store, open_store


def write_verdict(verdict: dict[str, Any], store_url: str, config: Config, path: Path) -> None:
    """The page of a verdict into a file.

    Args:
        verdict: as `diagnose --format json` prints it.
        store_url: where the evidence of its incidents is.
        config: names the user's causes.
        path: the file; what is there is replaced.
    """
    path.write_text(verdict_page(verdict, open_store(store_url), _categories(config)), "utf-8")


def write_incident(incident: dict[str, Any], store: Store, config: Config, path: Path) -> None:
    """The page of an incident of a store into a file."""
    path.write_text(incident_page(incident, store, _categories(config)), "utf-8")


def _categories(config: Config) -> dict[str, str]:
    return {cause.name: cause.category for cause in load(config.causes.paths).values()}
