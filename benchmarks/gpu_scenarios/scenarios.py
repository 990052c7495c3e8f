"""The table of scenarios: what goes wrong where, and what the verdict should be."""

import dataclasses
from collections.abc import Callable
from typing import Literal

from benchmarks.gpu_scenarios import faults, healthy
from benchmarks.gpu_scenarios.faults import Gpus
from benchmarks.gpu_scenarios.fleet import Fleet, Random
from benchmarks.gpu_scenarios.world import World

Whom = Literal["one", "host", "half", "all"]


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """One way in which a run goes."""

    name: str
    change: Callable[[World, Gpus], None]
    cause: str | None
    """Id of the cause that must come first; None where there must be no incident, or where no cause of these may be named."""
    whom: Whom = "all"
    from_start: bool | None = None
    """Whether it is there from the start; None for either."""
    least_hosts: int = 1
    nvlink: bool = False
    never: tuple[str, ...] = ()
    """For a slow run whose cause is in no catalogue: what it must not be taken for."""

    @property
    def least_gpus(self) -> int:
        return {"one": 2, "host": 2, "half": 2, "all": 1}[self.whom]


def gpus_of(scenario: Scenario, fleet: Fleet, random: Random) -> list[int]:
    """Whom it happens to."""
    match scenario.whom:
        case "one":
            return [int(random.integers(fleet.gpus))]
        case "host":
            return fleet.on_host(int(random.integers(fleet.hosts)))
        case "half":
            hosts = int(random.integers(1, max(fleet.hosts // 2, 1) + 1))
            return [gpu for host in random.permutation(fleet.hosts)[:hosts] for gpu in fleet.on_host(int(host))]
        case "all":
            return list(range(fleet.gpus))


FAULTS = (
    Scenario("one GPU too hot", faults.overheat, "I06", "one"),
    Scenario("all GPUs too hot", faults.overheat, "I06"),
    Scenario("one power limit lowered", faults.lower_power_limit, "I07", "one"),
    Scenario("all power limits lowered", faults.lower_power_limit, "I07"),
    Scenario("power brake on a host", faults.brake, "I07", "host", least_hosts=2),
    Scenario("power brake everywhere", faults.brake, "I07"),
    Scenario("clocks of one GPU set low", faults.lock_clocks, "I15", "one"),
    Scenario("all clocks set low", faults.lock_clocks, "I15"),
    Scenario("PCIe of one GPU trained down", faults.train_pcie_down, "I08", "one"),
    Scenario("PCIe of all GPUs trained down", faults.train_pcie_down, "I08"),
    Scenario("copies at full speed take long", faults.copy_too_much, "D17"),
    Scenario("NVLink of one GPU degraded", faults.degrade_nvlink, "I09", "one", False, nvlink=True),
    Scenario("network congested", faults.congest, "I10", "all", False, least_hosts=2),
    Scenario("one port broken", faults.break_port, "I11", "one", False, least_hosts=2),
    Scenario("one GPU slow from the start", faults.slow_down, "I12", "one", True),
    Scenario("uneven samples", faults.uneven_samples, "D13", "one", True),
    Scenario("memory errors on one GPU", faults.corrupt_memory, "I13", "one"),
    Scenario("one GPU shared", faults.share_gpu, "I14", "one"),
    Scenario("all GPUs shared", faults.share_gpu, "I14", "all", False),
    Scenario("another driver on slow nodes", faults.mix_versions, "I22", "half", True, least_hosts=2),
    Scenario("a GPU falls off the bus", faults.lose_gpu, "I24", "one", False),
    Scenario("one GPU turns gray", faults.turn_gray, "I28", "one", False),
    Scenario("slower code deployed", faults.change_code, "P06", "all", False),
    Scenario("memory of one rank fragmented", faults.fragment, "M09", "one"),
    Scenario("memory of all ranks fragmented", faults.fragment, "M09", "all", False),
    Scenario("memory of one rank full", faults.fill_memory, "M10", "one"),
    Scenario("memory of all ranks full", faults.fill_memory, "M10", "all", False),
    Scenario("tensors leak", faults.leak_tensors, "M08", "all", True),
    Scenario("bound by communication", faults.bound_by_communication, None, "all", True, least_hosts=2, never=("I09", "I10", "I11")),
    Scenario("node preempted", faults.lose_shipper, None, "one", False, never=("I24",)),
)

HEALTHY = tuple(Scenario(change.__doc__.rstrip(".").partition(":")[0], change, None, whom, least_hosts=hosts) for change, whom, hosts in (
    (healthy.plain, "all", 1), (healthy.capped_each_minute, "all", 1), (healthy.capped_at_the_default, "all", 1),
    (healthy.idle_links, "all", 1), (healthy.one_hotter, "one", 1), (healthy.memory_nearly_full, "all", 1),
    (healthy.few_corrected_errors, "one", 1),
    (healthy.uneven_together, "all", 1), (healthy.other_driver, "one", 2), (healthy.monitor_on_gpu, "one", 1),
    (healthy.resting_shipper, "one", 2)) if change.__doc__)
