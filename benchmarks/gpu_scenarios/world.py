"""What happens to the GPUs, the network and the run, second by second; faults change it before it is measured."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_scenarios.fleet import Fleet, Random, uuid

Floats = NDArray[np.float64]


@dataclasses.dataclass(slots=True)
class World:
    """A run on a fleet; arrays have the shape (seconds, gpus) unless they say otherwise."""

    random: Random
    fleet: Fleet
    seconds: int
    begin: int
    """Second at which the fault begins; 0 when it was there from the start."""
    interval_s: float
    """Time between two readings of a thing."""
    uuids: list[str]

    # the work of one step of one rank when nothing is wrong, in seconds
    compute_s: float
    data_wait_s: float
    h2d_s: float
    communication_s: float
    other_s: float
    clock_bound: float
    """Share of the computation that goes as fast as the clock."""
    step_noise: float
    rank_noise: float
    split_phases: bool
    checkpoint_every: int
    uneven: float = 0.0
    """Deviation of the logarithm of the tokens of a batch from rank to rank."""
    uneven_together: float = 0.0
    """The same from step to step, alike for all ranks."""
    pauses: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    """Stretches (second, seconds) in which no step is done."""

    clock: Floats = dataclasses.field(init=False)
    """Clock at work over the usual one of this run."""
    usual_clock: float = 1.0
    """Usual clock at work over the highest."""
    slower: Floats = dataclasses.field(init=False)
    """How many times as long computation takes for reasons other than the clock."""
    copies: Floats = dataclasses.field(init=False)
    """How many times as long copies to the device take."""
    collectives: Floats = dataclasses.field(init=False)
    """How many times as long communication takes, shape (seconds,)."""
    hot: Floats = dataclasses.field(init=False)
    """Share of the second at lower clocks for heat; `capped` for power, `braked` for the power supply."""
    capped: Floats = dataclasses.field(init=False)
    braked: Floats = dataclasses.field(init=False)
    set_low: Floats = dataclasses.field(init=False)
    """1 while a clock setting holds the clocks."""
    application: Floats = dataclasses.field(init=False)
    """Clock for applications over the highest."""
    limit: Floats = dataclasses.field(init=False)
    """Power limit over the default."""
    warmer: Floats = dataclasses.field(init=False)
    """Degrees above the usual temperature."""
    generation: Floats = dataclasses.field(init=False)
    lanes: Floats = dataclasses.field(init=False)
    rates: dict[str, Floats] = dataclasses.field(default_factory=dict)
    """What a counter of a GPU rises by in a second, beyond nothing."""
    flags: dict[str, Floats] = dataclasses.field(default_factory=dict)
    """Flags of a GPU that are not always 0."""
    links_down: Floats = dataclasses.field(init=False)
    lost: Floats = dataclasses.field(init=False)
    """1 while the driver says the GPU is lost."""
    unread: Floats = dataclasses.field(init=False)
    """1 while nothing is read of the GPU."""
    host_unread: Floats = dataclasses.field(init=False)
    """1 while nothing at all is shipped from the host, shape (seconds, hosts)."""
    strangers: Floats = dataclasses.field(init=False)
    """Programs of others on the GPU."""
    stranger_bytes: float = 0.0
    allocated: Floats = dataclasses.field(init=False)
    """Memory of tensors over that of the device."""
    reserved: Floats = dataclasses.field(init=False)
    retries: Floats = dataclasses.field(init=False)
    """Allocator retries in a second."""
    port_speed: Floats = dataclasses.field(init=False)
    """Speed of a host's port over the usual one, shape (seconds, hosts)."""
    port_rates: dict[str, Floats] = dataclasses.field(default_factory=dict)
    """What a counter of a host's port rises by in a second, shape (seconds, hosts)."""
    resent: Floats = dataclasses.field(init=False)
    """Share of the TCP segments sent again, shape (seconds, hosts)."""
    drivers: list[str] = dataclasses.field(init=False)
    """Of each host."""
    events: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        shape, hosts = (self.seconds, self.fleet.gpus), (self.seconds, self.fleet.hosts)
        for name in ("clock", "slower", "copies", "limit"):
            setattr(self, name, np.ones(shape))
        for name in ("hot", "capped", "braked", "set_low", "warmer", "links_down", "lost", "unread", "strangers", "retries"):
            setattr(self, name, np.zeros(shape))
        self.collectives = np.ones(self.seconds)
        self.application = np.full(shape, self.fleet.model.application_mhz / self.fleet.model.max_mhz)
        self.generation, self.lanes = np.full(shape, float(self.fleet.model.pcie)), np.full(shape, 16.0)
        self.allocated = np.full(shape, self.random.uniform(0.45, 0.75))
        self.reserved = self.allocated + self.random.uniform(0.03, 0.10)
        self.port_speed, self.host_unread = np.ones(hosts), np.zeros(hosts)
        self.resent = np.full(hosts, 1e-5)
        self.drivers = ["550.54.15"] * self.fleet.hosts

    @property
    def step_s(self) -> float:
        """A step when nothing is wrong."""
        return self.compute_s + self.data_wait_s + self.h2d_s + self.communication_s + self.other_s

    @property
    def since(self) -> slice:
        """The seconds of the fault."""
        return slice(self.begin, None)

    def factor(self, part_s: float, step_ratio: float) -> float:
        """How many times as long a part must take for the whole step to take `step_ratio` times as long."""
        return 1 + (step_ratio - 1) * self.step_s / part_s

    def event(self, second: float, action: str, reason: str, host: int | None, **labels: str) -> None:
        """Let something be reported."""
        self.events.append({"second": second, "action": action, "reason": reason, "host": host, "labels": labels})


def draw_world(random: Random, fleet: Fleet, *, from_start: bool | None = None) -> World:
    """A healthy run of 8 to 50 minutes on a fleet, with the place in time of a fault to come.

    Args:
        random: where all of it is drawn from.
        fleet: the GPUs.
        from_start: whether the fault is there all the time; None for either.
    """
    seconds = int(random.integers(480, 3000))
    interval = float(random.choice([each for each in (1, 2, 5, 10, 15, 30)
                                    if fleet.gpus * seconds / each <= 20_000 and seconds / each >= 48] or [30]))
    step = float(np.exp(random.uniform(np.log(0.25), np.log(2.0))))
    step = max(step, fleet.gpus * seconds / 60_000)
    shares = {"data_wait": random.uniform(0.005, 0.04), "h2d": random.uniform(0.005, 0.03), "other": random.uniform(0.005, 0.02),
              "communication": random.uniform(0.03, 0.15) if fleet.gpus > 1 else 0.0}
    first = random.random() < 0.4 if from_start is None else from_start
    world = World(
        random, fleet, seconds, 0 if first else int(seconds * random.uniform(0.3, 0.6)), interval,
        [uuid(random) for _ in range(fleet.gpus)],
        compute_s=step * (1 - sum(shares.values())), data_wait_s=step * shares["data_wait"], h2d_s=step * shares["h2d"],
        communication_s=step * shares["communication"], other_s=step * shares["other"], clock_bound=random.uniform(0.7, 1.0),
        step_noise=random.uniform(0.005, 0.04), rank_noise=random.uniform(0.003, 0.03), split_phases=bool(random.random() < 0.7),
        checkpoint_every=int(random.choice([0, 150, 300, 600])), usual_clock=random.uniform(0.93, 1.0))
    if random.random() < 0.3:  # a load that the power limit as shipped holds back a little, on all GPUs, all the time: normal
        world.usual_clock = random.uniform(0.80, 0.90)
        world.capped += random.uniform(0.5, 1.0)
    return world
