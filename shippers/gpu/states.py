"""Whether GPUs are read, and why not."""

import enum
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from shippers.sources.reading import ROOT

LIBRARY = "libnvidia-ml.so.1"


class GpuState(enum.Enum):
    """The reasons of which the reading process tells have their names as values."""

    READING = "GPUs are read"
    STARTING = "the driver is being opened"
    NO_LIBRARY = f"there is no driver of NVIDIA here: {LIBRARY} is not installed"
    NO_PACKAGE = "the package nvidia-ml-py is not installed: pip install 'pinchpoint[ship]'"
    NO_DRIVER = "the driver of NVIDIA is installed, and not loaded"
    NO_GPU = "the driver of NVIDIA is loaded, and knows no GPU"
    VERSION_MISMATCH = "the driver's library and its kernel module are of different versions: restart the host, or load the module anew"
    FORBIDDEN = "this user may not open the driver: /dev/nvidiactl"
    DRIVER_GONE = "the driver was unloaded or replaced; it is opened anew as soon as it is there"
    SILENT = "the driver does not answer"
    STUCK = "processes that read GPUs cannot be ended, for the driver holds them: nothing more is started until it lets go"
    FAILED = "reading failed"

    @property
    def is_normal(self) -> bool:
        """Whether nothing is wrong: there are GPUs and they are read, or there are none."""
        return self in (GpuState.READING, GpuState.STARTING, GpuState.NO_LIBRARY, GpuState.NO_PACKAGE, GpuState.NO_DRIVER, GpuState.NO_GPU)


def before_start(environment: Mapping[str, str] = os.environ, root: Path = ROOT) -> GpuState | None:
    """Why there is no use in starting a process that reads; None where there may be. Loads nothing."""
    if not _has_library(environment, root):
        return GpuState.NO_LIBRARY
    return GpuState.NO_PACKAGE if importlib.util.find_spec("pynvml") is None else None


def _has_library(environment: Mapping[str, str], root: Path) -> bool:
    folders = [Path(folder) for folder in environment.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    folders += [root / folder for folder in ("usr/lib64", "usr/lib", "lib64", "lib", "usr/local/nvidia/lib64", "run/opengl-driver/lib")]
    if any((folder / LIBRARY).exists() for folder in folders):
        return True
    try:
        # the names that the loader knows beside those folders
        return LIBRARY.encode() in (root / "etc" / "ld.so.cache").read_bytes()
    except OSError:
        return False
