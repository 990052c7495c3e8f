"""Addresses of PCI devices in one spelling."""

import re

_ADDRESS = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.([0-7]))?")


def pci_address(text: str) -> str:
    """The address as lspci -D writes it, however drivers and tools spell it.

    Raises: ValueError when it is none.

    >>> [pci_address(text) for text in ("0000:9B:00", "00000000:9B:00.0", "9b:00.0", "PCI:0000:9b:00")]
    ['0000:9b:00.0', '0000:9b:00.0', '0000:9b:00.0', '0000:9b:00.0']
    """
    match = _ADDRESS.fullmatch(text.strip().removeprefix("PCI:"))
    if match is None:
        raise ValueError(f"no PCI address: {text[:40]!r}")
    domain, bus, device, function = match.groups()
    return f"{int(domain or '0', 16):04x}:{bus}:{device}.{function or 0}".lower()


def same_form(text: str) -> str:
    """To compare addresses of sources that we do not know: what is none stays as it is.

    >>> same_form("00000001:3B:00.0"), same_form("slot 3")
    ('0001:3b:00.0', 'slot 3')
    """
    try:
        return pci_address(text)
    except ValueError:
        return text
