"""Tell which GPU it is."""

from typing import Any

import pynvml

from shippers.gpu.doing import Doing
from shippers.gpu.reader import checked

_ARCHITECTURES = {2: "kepler", 3: "maxwell", 4: "pascal", 5: "volta", 6: "turing", 7: "ampere", 8: "ada", 9: "hopper", 10: "blackwell",
                  13: "rubin"}


def labels_of(handle: Any, index: int, driver: str, doing: Doing) -> dict[str, str]:
    """The labels of all records of a GPU; what it does not tell is left out. Raises: LostError, DriverGoneError."""
    labels = {"gpu.index": str(index), "gpu.driver_version": driver}
    for label, name in (("gpu.name", "nvmlDeviceGetName"), ("gpu.serial", "nvmlDeviceGetSerial"),
                        ("gpu.vbios", "nvmlDeviceGetVbiosVersion"), ("gpu.architecture", "nvmlDeviceGetArchitecture"),
                        ("gpu.pci.address", "nvmlDeviceGetPciInfo")):
        doing.begin(name)
        try:
            value = getattr(pynvml, name)(handle)
        except pynvml.NVMLError as error:
            checked(error)
            continue
        if label == "gpu.pci.address":
            value = pci_address(value.domain, value.bus, value.device)
        elif label == "gpu.architecture":
            value = _ARCHITECTURES.get(value, str(value))
        labels[label] = value
    return labels


def pci_address(domain: int, bus: int, device: int) -> str:
    """As the kernel writes it.

    >>> pci_address(0, 0x19, 0)
    '0000:19:00.0'
    """
    return f"{domain:04x}:{bus:02x}:{device:02x}.0"
