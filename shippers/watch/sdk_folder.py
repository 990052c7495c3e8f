"""A folder for PYTHONPATH that holds the SDK alone, so that nothing else of ours enters the training environment."""

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

import platformdirs

import pinchpoint
from pinchpoint.errors import PinchpointError

_NAME = "pinchpoint"


def sdk_folder(parent: Path | None = None) -> Path:
    """The folder, made or repaired when needed; several processes may ask at once.

    Args:
        parent: where to keep it; None for the user's data directory, or a temporary one where that cannot be written.
    Raises: PinchpointError when something that is no link stands in its place.
    """
    package = Path(pinchpoint.__file__).parent.resolve()
    # One folder for each installation: two of them must not take turns at repairing one link.
    name = hashlib.blake2b(os.fsencode(package), digest_size=6).hexdigest()
    if parent is not None:
        return _link(parent / name, package)
    try:
        return _link(Path(platformdirs.user_data_dir("pinchpoint")) / "sdk" / name, package)
    except OSError:
        return _link(Path(tempfile.mkdtemp(prefix="pinchpoint-sdk-")) / name, package)


def hooks_folder(sdk: Path) -> Path:
    """The folder that, on Python's path behind that of the SDK, has every Python process lay the hooks of `pinchpoint.auto`."""
    return sdk / _NAME / "auto" / "startup"


def _link(folder: Path, package: Path) -> Path:
    link = folder / _NAME
    if link.is_symlink() and link.readlink() == package:
        return folder
    if link.exists() and not link.is_symlink():
        raise PinchpointError(f"{link} should be a link to {package}, but is not a link. Remove it and try again.")
    folder.mkdir(parents=True, exist_ok=True)
    # Made beside the folder and moved into it: whoever looks meanwhile sees the old link, the new one, or none, never half.
    fresh = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    fresh.symlink_to(package)
    fresh.replace(link)
    return folder
