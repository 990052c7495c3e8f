"""What goes wrong in reading, and what the error numbers of NVML mean for reading on."""

UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 1, 2, 3, 4, 6
DRIVER_NOT_LOADED, TIMEOUT, LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND, GPU_IS_LOST = 9, 10, 12, 13, 15
VERSION_MISMATCH, ARGUMENT_VERSION_MISMATCH, DEPRECATED = 18, 25, 26

#: This reading of this device will not come: it is not asked for again. Why, in words.
NEVER = {
    # an older driver does not know a newer field, and says so in either way
    INVALID_ARGUMENT: "unknown to this driver", NOT_SUPPORTED: "not supported by this GPU", NO_PERMISSION: "needs root",
    FUNCTION_NOT_FOUND: "unknown to this driver", ARGUMENT_VERSION_MISMATCH: "unknown to this driver",
    DEPRECATED: "taken out of this driver"}

#: The driver was unloaded or replaced: a process that has loaded the old library has to end.
DRIVER_GONE = frozenset((UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, VERSION_MISMATCH))


class DriverGoneError(Exception):
    """The driver was unloaded or replaced; the argument is the number of the error."""


class UnavailableError(Exception):
    """The driver does not give out a GPU; the argument says why."""


class CannotOpenError(Exception):
    """There is nothing to read; the first argument is the reason, a value of `GpuState`, the second says more."""


class LostError(Exception):
    """The driver says that the GPU is lost."""
