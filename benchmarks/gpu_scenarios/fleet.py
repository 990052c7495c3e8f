"""Fleets of GPUs as they are bought: models with their clocks, power and temperatures, drawn from a seed."""

import dataclasses

import numpy as np

Random = np.random.Generator


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """One model of GPU; numbers of NVIDIA's data sheets and of `nvidia-smi -q`."""

    name: str
    architecture: str
    max_mhz: int
    application_mhz: int
    """Clock for applications as shipped."""
    memory_mhz: int
    idle_mhz: int
    power_w: int
    idle_w: int
    slowdown_c: int
    memory_bytes: float
    pcie: int
    """Generation."""
    nvlinks: int
    counts_rows: bool
    """Whether it remaps rows of memory (Ampere and later)."""
    has_gpm: bool


MODELS = (
    Model("Tesla V100-SXM2-32GB", "Volta", 1530, 1312, 877, 135, 300, 42, 90, 34.36e9, 3, 6, False, False),
    Model("NVIDIA A100-SXM4-80GB", "Ampere", 1410, 1410, 1593, 210, 400, 62, 92, 85.9e9, 4, 12, True, False),
    Model("NVIDIA H100 80GB HBM3", "Hopper", 1980, 1980, 2619, 345, 700, 75, 95, 85.5e9, 5, 18, True, True),
    Model("NVIDIA B200", "Blackwell", 1965, 1965, 3996, 120, 1000, 140, 95, 191.5e9, 5, 18, True, True),
    Model("NVIDIA L40S", "Ada Lovelace", 2520, 2520, 9001, 210, 350, 35, 92, 48.3e9, 4, 0, True, False),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Fleet:
    """The GPUs of a run: `hosts` hosts with `each` GPUs, one rank on each GPU."""

    model: Model
    hosts: int
    each: int

    @property
    def gpus(self) -> int:
        return self.hosts * self.each

    def host_of(self, gpu: int) -> int:
        return gpu // self.each

    def on_host(self, host: int) -> list[int]:
        return list(range(host * self.each, (host + 1) * self.each))


def draw_fleet(random: Random, *, least_gpus: int = 1, least_hosts: int = 1, nvlink: bool = False) -> Fleet:
    """A fleet of 1 to 8 hosts with 1 to 8 GPUs each."""
    models = [model for model in MODELS if model.nvlinks or not nvlink]
    while True:
        hosts, each = int(random.choice([1, 1, 2, 2, 3, 4, 8])), int(random.choice([1, 2, 4, 4, 8, 8]))
        fleet = Fleet(models[random.integers(len(models))], hosts, each)
        if fleet.gpus >= least_gpus and fleet.hosts >= least_hosts and not (nvlink and fleet.each < 2):
            return fleet


def uuid(random: Random) -> str:
    """An UUID as the driver writes it."""
    digits = "".join(f"{part:04x}" for part in random.integers(0, 1 << 16, 8))
    return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
