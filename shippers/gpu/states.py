"""Whether GPUs are read, and why not."""

import enum
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from shippers.sources.reading import ROOT

_NVIDIA, _AMD = "libnvidia-ml.so.1", "libamd_smi.so"


class GpuState(enum.Enum):
    """The reasons of which the reading process tells have their names as values."""

    READING = "GPUs are read"
    STARTING = "the driver is being opened"
    NO_LIBRARY = f"there is no driver of GPUs here: neither {_NVIDIA} of NVIDIA nor {_AMD} of AMD is installed"
    NO_PACKAGE = "the driver's Python package is not installed: pip install 'pinchpoint[ship]' for NVIDIA, 'pinchpoint[amd]' for AMD"
    NO_DRIVER = "the driver of GPUs is installed, and not loaded"
    NO_GPU = "the driver of GPUs is loaded, and knows no GPU"
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


def before_start(environment: Mapping[str, str] = os.environ, root: Path = ROOT) -> str | GpuState:
    """Whose GPUs to read, nvidia or amd; why there is no use in starting a process that reads, where there is none. Loads nothing.

    A host that has the drivers of both has its GPUs for computing from NVIDIA; AMD's is then for the display.
    """
    state = GpuState.NO_LIBRARY
    for vendor, library, package in (("nvidia", _NVIDIA, "pynvml"), ("amd", _AMD, "amdsmi")):
        if _has_library(library, environment, root):
            if importlib.util.find_spec(package) is not None:
                return vendor
            state = GpuState.NO_PACKAGE
    return state


def _has_library(library: str, environment: Mapping[str, str], root: Path) -> bool:
    folders = [Path(folder) for folder in environment.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    folders += [root / folder for folder in ("usr/lib64", "usr/lib", "lib64", "lib", "usr/local/nvidia/lib64", "run/opengl-driver/lib",
                                         "opt/rocm/lib")]
    if any((folder / library).exists() for folder in folders):
        return True
    try:
        # the names that the loader knows beside those folders
        return library.encode() in (root / "etc" / "ld.so.cache").read_bytes()
    except OSError:
        return False
