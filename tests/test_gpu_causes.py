"""Causes that lie in GPUs: each by its own evidence, its nearest wrong cause by its own, healthy twins left alone."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from runs import START, run_view

from models.causes import load
from models.laying import build
from models.verdict import explain
from models.view import Event, RunView
from pinchpoint import records
from pinchpoint.clock import NS
from pipelines.metric_features import metric_features
from pipelines.step_features import step_features

SECONDS = 60
#: What a healthy GPU says; throttling as counters.
HEALTHY: dict[str, Any] = {
    "gpu.busy_ratio": 0.95, "gpu.clock.sm_hz": 1.4e9, "gpu.clock.sm_max_hz": 1.41e9, "gpu.temperature_celsius": 62,
    "gpu.temperature.slowdown_celsius": 92, "gpu.power_w": 330, "gpu.power.limit_w": 400, "gpu.power.default_limit_w": 400,
    "gpu.throttled.thermal_s": 0, "gpu.throttled.power_s": 0, "gpu.throttled.power_brake_s": 0, "gpu.ecc.corrected": 0,
    "gpu.ecc.uncorrected": 0, "gpu.remapped_rows.pending": 0, "gpu.processes": 1, "gpu.pcie.generation": 4, "gpu.pcie.generation_max": 4,
    "gpu.pcie.width": 16, "gpu.pcie.width_max": 16, "gpu.nvlink.links": 12, "gpu.nvlink.links_active": 12, "gpu.nvlink.crc_errors": 0,
    "gpu.memory.total_bytes": 80e9, "gpu.memory.used_bytes": 50e9, "gpu.lost": 0,
}
HOT = {"gpu.throttled.thermal_s": lambda second: 0.6 * second, "gpu.clock.sm_hz": 0.9e9, "gpu.temperature_celsius": 91}
CAPPED = {"gpu.throttled.power_s": lambda second: 0.9 * second, "gpu.clock.sm_hz": 1.0e9, "gpu.power.limit_w": 250, "gpu.power_w": 248}
BRAKED = {"gpu.throttled.power_brake_s": lambda second: 0.5 * second, "gpu.clock.sm_hz": 0.9e9, "gpu.power_w": 190}
LOCKED = {"gpu.clock.sm_hz": 0.9e9, "gpu.power_w": 200}
BAD_MEMORY = {"gpu.ecc.corrected": lambda second: 3 * second, "gpu.remapped_rows.pending": 1}


def rows(changed: dict[int, dict[str, Any]] | None = None, *, gpus: int = 4, without: tuple[str, ...] = (), since: float = 0,
         every_s: int = 1) -> list[Any]:
    """Readings of GPUs 0 … and of their host; some GPUs with other values from a second on, functions of the second since then."""
    found: list[Any] = []
    for second in range(0, SECONDS, every_s):
        found.append((second, "host", "h", {}, {"system.cpu.count": 8.0, "system.cpu.busy_s": 2.0 * second}))
        for gpu in range(gpus):
            values = HEALTHY | ((changed or {}).get(gpu, {}) if second >= since else {})
            told = {name: float(value(second - since) if callable(value) else value) for name, value in values.items()
                    if name not in without}
            labels = {"gpu.index": str(gpu), "gpu.name": "NVIDIA A100", "gpu.pci.address": f"00000000:0{gpu + 1}:00.0"}
            found.append((second, "gpu", f"GPU-{gpu}", labels, told))
    return found


def readings(metrics: list[Any]) -> pa.RecordBatch:
    """Rows as records."""
    return records.batch("metric", {
        "@timestamp": [START + second * NS for second, *_ in metrics], "entity.kind": [kind for _, kind, *_ in metrics],
        "entity.id": [name for _, _, name, *_ in metrics], "host.name": ["h"] * len(metrics),
        "labels": [list(labels.items()) for *_, labels, _ in metrics], "metrics": [list(told.items()) for *_, told in metrics]})


def times(slow: dict[int, float] | None = None, *, ranks: int = 4, since: float = 0, seed: int = 1) -> np.ndarray:
    """Seconds of computation of each step and rank: 0.1, some ranks slower from a second on."""
    own = 0.1 * np.exp(np.random.default_rng(seed).normal(0, 0.005, (400, ranks)))
    begin = int(since / 0.102)
    for rank, ratio in (slow or {}).items():
        own[begin:, rank] *= ratio
    return own


def first(view: RunView) -> dict[str, Any]:
    """The first cause of the verdict."""
    incidents = explain(view, load())["incidents"]
    assert incidents, "nothing was found"
    assert incidents[0]["causes"], incidents[0]["rejected"]
    cause: dict[str, Any] = incidents[0]["causes"][0]
    return cause


@pytest.mark.parametrize(("shown", "wanted"), [(HOT, "I06"), (CAPPED, "I07"), (BRAKED, "I07"), (LOCKED, "I15"), (BAD_MEMORY, "I13"),
                                               ({"gpu.processes": 2}, "I14"), ({}, "I12")])
def test_one_slow_gpu_among_four(shown: dict[str, Any], wanted: str) -> None:
    """What the GPU of the slowest rank shows, and the others do not, is the cause; with nothing to show it is a slow GPU."""
    cause = first(run_view(times({2: 1.5}), metrics=rows({2: shown})))

    assert cause["id"] == wanted
    assert cause["entity"] == ({"kind": "rank", "id": "2"} if wanted == "I12" else {"kind": "gpu", "id": "GPU-2"})
    assert "rank 2, GPU 2 of host h (NVIDIA A100, GPU-2)" in cause["why"][-1]


@pytest.mark.parametrize(("shown", "wanted"), [(HOT, "I06"), (CAPPED, "I07"), (LOCKED, "I15"), ({"gpu.processes": 2}, "I14")])
def test_all_gpus_slower_than_before(shown: dict[str, Any], wanted: str) -> None:
    """Compared with the run's own past when all ranks became slower together."""
    every = dict.fromkeys(range(4), 1.6)
    cause = first(run_view(times(every, since=20), metrics=rows(dict.fromkeys(range(4), shown), since=20)))

    assert cause["id"] == wanted


@pytest.mark.parametrize(("shown", "wanted"), [(HOT, "I06"), (CAPPED, "I07"), (LOCKED, "I15")])
def test_all_gpus_held_back_from_the_start(shown: dict[str, Any], wanted: str) -> None:
    """Compared with their highest clock when there is nothing else to compare with."""
    assert first(run_view(times(), metrics=rows(dict.fromkeys(range(4), shown))))["id"] == wanted


def bare(slow: float, since: int) -> pa.RecordBatch:
    """Steps of one rank as a log tells them: how long each took, and nothing of its phases."""
    took = np.where(np.arange(400) < since, 0.1, 0.1 * slow) * np.exp(np.random.default_rng(3).normal(0, 0.005, 400))
    begin = np.concatenate(([0.0], np.cumsum(took)[:-1]))
    return records.batch("step", {"@timestamp": START + np.round(begin * NS).astype(np.int64), "run.id": ["r"] * 400, "rank": [0] * 400,
                                  "host.name": ["h"] * 400, "step": np.arange(400), "duration_s": took})


@pytest.mark.parametrize("since", [0, 200])
def test_step_times_alone_are_enough(since: int) -> None:
    """Without phases the time of the GPU is part of the step: its evidence explains that."""
    metrics = rows({0: HOT}, gpus=1, since=0.1 * since)
    features = records.concat("feature", [step_features(pa.Table.from_batches([bare(1.5, since)]), 1.0, START, START + 10**6 * NS),
                                          metric_features(pa.Table.from_batches([readings(metrics)]), 1.0)])

    assert first(build("r", features, [], 1.0))["id"] == "I06"


def test_two_gpus_are_enough_to_compare() -> None:
    """The ratio to the median of the others needs one other."""
    assert first(run_view(times({1: 1.5}, ranks=2), metrics=rows({1: HOT}, gpus=2)))["entity"]["id"] == "GPU-1"


def test_flags_count_where_nobody_reads_counters() -> None:
    """As nvidia-smi and older exporters tell it."""
    counters = tuple(name for name in HEALTHY if name.startswith("gpu.throttled."))
    quiet = {"gpu.clocks_event.software_power_cap": 0, "gpu.clocks_event.software_thermal": 0}
    hot = {**HOT, "gpu.clocks_event.software_thermal": lambda second: float(second % 3 > 0), "gpu.clocks_event.software_power_cap": 0}
    changed = {0: quiet, 1: quiet, 2: hot, 3: quiet}

    assert first(run_view(times({2: 1.5}), metrics=rows(changed, without=counters)))["id"] == "I06"


def test_without_reasons_only_heat_can_be_told() -> None:
    """Clocks, power and temperature alone, as exporters send by default: a hot GPU is told, else it is said what is missing."""
    reasons = tuple(name for name in HEALTHY if name.startswith(("gpu.throttled.", "gpu.power.")))
    incidents = explain(run_view(times({2: 1.5}), metrics=rows({2: CAPPED}, without=reasons)), load())["incidents"]

    assert first(run_view(times({2: 1.5}), metrics=rows({2: HOT}, without=reasons)))["id"] == "I06"
    assert incidents[0]["causes"] == []
    assert any("gpu_power_cap (I07)" in line and "gpu.throttled" in line for line in incidents[0]["missing"])


def test_what_all_gpus_show_explains_no_difference() -> None:
    """A load at the power limit as shipped caps all GPUs all the time: the slow one is slow for another reason."""
    capped = {"gpu.throttled.power_s": lambda second: 0.9 * second, "gpu.power_w": 398.0}

    assert first(run_view(times({2: 1.5}), metrics=rows(dict.fromkeys(range(4), capped))))["id"] == "I12"


def test_a_gpu_that_was_as_fast_as_the_others_turned_gray() -> None:
    """Slow since an onset and silent: a gray failure; slow since an onset and unmeasured: only a slow GPU."""
    own = times({2: 1.6}, since=20)

    assert first(run_view(own, metrics=rows()))["id"] == "I28"
    assert first(run_view(own))["id"] == "I12"


def test_a_report_of_the_kernel_finds_its_gpu_by_the_address() -> None:
    """XID 63 with a PCI address: the driver writes the domain with eight digits, the kernel with four."""
    event = Event(START + 2 * NS, "gpu_error", "XID 63", {"xid": "63", "gpu.pci.address": "0000:03:00", "error.kind": "row_remap"}, "h")
    other = Event(START + 2 * NS, "gpu_error", "XID 63", {"xid": "63", "gpu.pci.address": "0000:02:00", "error.kind": "row_remap"}, "h")

    assert first(run_view(times({2: 1.5}), metrics=rows(), events=[event]))["id"] == "I13"
    assert first(run_view(times({2: 1.5}), metrics=rows(), events=[other]))["id"] == "I12"


def test_who_else_computes_on_the_gpu_is_named() -> None:
    """By the memory of processes; the run's own count for nothing."""
    processes: list[Any] = []
    for second in range(0, SECONDS, 5):
        for gpu in range(4):
            labels = {"process.pid": str(100 + gpu), "process.role": "run", "gpu.uuid": f"GPU-{gpu}"}
            processes.append((second, "process", f"h/{100 + gpu}", labels, {"process.gpu.memory_bytes": 5e10}))
        stranger = {"process.pid": "777", "process.name": "notebook", "process.role": "other", "gpu.uuid": "GPU-2"}
        processes.append((second, "process", "h/777", stranger, {"process.gpu.memory_bytes": 5e9}))
    cause = first(run_view(times({2: 1.5}), metrics=[*rows(without=("gpu.processes",)), *processes]))

    assert (cause["id"], cause["entity"]["id"]) == ("I14", "GPU-2")
    assert "notebook (pid 777)" in cause["why"][-1]


@pytest.mark.parametrize(("shown", "wanted"), [({"gpu.pcie.width": 4}, "I08"), ({}, "D17")])
def test_copies_over_a_narrow_link_and_too_many_copies(shown: dict[str, Any], wanted: str) -> None:
    """The same phase: the link below its best is the cause, at its best it is what is copied."""
    copies = np.full((400, 4), 0.03)
    copies[:, 2] = 0.05 if shown else 0.03
    cause = first(run_view(times(), h2d=copies, metrics=rows({2: shown})))

    assert cause["id"] == wanted
    assert wanted == "D17" or cause["entity"]["id"] == "GPU-2"


def test_a_link_that_is_down_at_idle_is_normal() -> None:
    """Generation 1 while the GPU waits for its data says nothing of copies that take long."""
    waiting = [({**row[4], "gpu.busy_ratio": 0.0, "gpu.pcie.generation": 1.0} if row[1] == "gpu" and row[0] % 4 == 0 else row[4])
               for row in rows()]
    metrics = [(*row[:4], told) for row, told in zip(rows(), waiting, strict=True)]

    assert first(run_view(times(), h2d=np.full((400, 4), 0.03), metrics=metrics))["id"] == "D17"


def test_nvlink_and_communication() -> None:
    """A GPU with links down, since communication takes long."""
    cause = first(run_view(times(), communication_s=0.05, metrics=rows({1: {"gpu.nvlink.links_active": 8}})))

    assert (cause["id"], cause["entity"]["id"]) == ("I09", "GPU-1")
    assert "GPU 1 of host h" in cause["why"][-1]




def test_a_gpu_that_vanished_while_its_host_went_on() -> None:
    """Readings of one GPU end for a while: it is gone. When those of the host end too, it was the shipper."""
    view = stopped(rows_missing("gpu"))
    assert (first(view)["id"], first(view)["entity"]["id"]) == ("I24", "GPU-1")

    answer = explain(stopped(rows_missing("all")), load())
    assert [cause["id"] for one in answer["incidents"] for cause in one["causes"]] == []


def rows_missing(what: str) -> list[Any]:
    """Readings of two minutes, without one GPU, or without anything, in the middle of them."""
    every = rows()
    return [(second + turn * SECONDS, *row) for turn in (0, 1) for second, *row in every
            if not (16 <= second + turn * SECONDS < 76 and (what == "all" or row[1] == "GPU-1"))]


def stopped(metrics: list[Any]) -> RunView:
    """A run that stands still for a minute, 16 seconds after its begin."""
    number = np.repeat(np.arange(400), 4)
    begin = number * 0.1 + np.where(number >= 160, 60.0, 0.0)
    steps = records.batch("step", {
        "@timestamp": START + np.round(begin * NS).astype(np.int64), "run.id": ["r"] * 1600, "rank": np.tile(np.arange(4), 400),
        "host.name": ["h"] * 1600, "step": number, "duration_s": np.full(1600, 0.099), "phase.forward_s": np.full(1600, 0.095)})
    features = records.concat("feature", [step_features(pa.Table.from_batches([steps]), 1.0, START, START + 10**6 * NS),
                                          metric_features(pa.Table.from_batches([readings(metrics)]), 1.0)])
    return build("r", features, [], 1.0)


def allocator(allocated: Any, reserved: Any, retries: Any) -> list[Any]:
    """Readings of the allocator of rank 0, functions of the second."""
    return [(second, "rank", "0", {}, {"torch.memory.allocated_bytes": float(allocated(second)),
                                       "torch.memory.reserved_bytes": float(reserved(second)),
                                       "torch.memory.alloc_retries": float(retries(second))}) for second in range(SECONDS)]


def late(second: int) -> float:
    return max(second - 20, 0) * 5.0


@pytest.mark.parametrize(("shown", "wanted"), [
    (allocator(lambda s: 35e9, lambda s: 38e9 if s < 20 else 77e9, late), "M09"),
    (allocator(lambda s: 60e9 if s < 20 else 75e9, lambda s: 62e9 if s < 20 else 78e9, late), "M10"),
    (allocator(lambda s: 30e9 + 1e9 * s, lambda s: 33e9 + 1e9 * s, lambda s: 0), "M08"),
])
def test_memory_of_the_gpu(shown: list[Any], wanted: str) -> None:
    """Fragmented, full and growing are told apart by what is held and what is used."""
    own = times({0: 1.6}, ranks=1, since=20) if wanted != "M08" else times(ranks=1) * np.linspace(1, 2, 400)[:, None]
    full = {0: {"gpu.memory.used_bytes": lambda second: 79e9}}

    assert first(run_view(own, metrics=[*rows(full, gpus=1, since=20), *shown]))["id"] == wanted


@pytest.mark.parametrize("tempting", [
    {"gpu.temperature_celsius": 78.0},
    {"gpu.ecc.corrected": lambda second: second // 25},
    {"gpu.memory.used_bytes": 72e9},
    {"gpu.throttled.power_s": lambda second: second / 15},
    {"gpu.processes": 2.0},
])
def test_a_healthy_run_stays_healthy(tempting: dict[str, Any]) -> None:
    """Nothing that a GPU shows is an incident while nobody waits for it."""
    assert explain(run_view(times(), metrics=rows({2: tempting})), load())["verdict"] == "healthy"


def test_an_instance_of_a_split_gpu_shows_what_its_parent_does() -> None:
    """Clocks and throttling are those of the whole GPU, memory and use those of the instance."""
    parts: list[Any] = [(second, "gpu", f"MIG-{gpu}", {"gpu.index": str(gpu), "gpu.parent.uuid": f"GPU-{gpu}"}, {"gpu.busy_ratio": 0.9})
                        for second in range(SECONDS) for gpu in range(4)]
    cause = first(run_view(times({2: 1.5}), metrics=[*rows({2: HOT}, without=("gpu.busy_ratio",)), *parts]))

    assert (cause["id"], cause["entity"]["id"]) == ("I06", "MIG-2")


def test_labels_reach_the_analysis() -> None:
    """The GPU that steps name and what a GPU is called are labels of rank and GPU."""
    [gpu, *_] = run_view(times(), metrics=rows()).others["gpu"]
    steps = records.batch("step", {"@timestamp": [START], "run.id": ["r"], "rank": [0], "host.name": ["h"], "gpu.uuid": ["GPU-9"],
                                   "process.pid": [7], "step": [0], "duration_s": [0.1]})
    features = records.concat("feature", [step_features(pa.Table.from_batches([steps]), 1.0, START, START + NS)])

    assert gpu.labels["gpu.name"] == "NVIDIA A100"
    assert build("r", features, [], 1.0).ranks[0].labels == {"process.pid": "7", "gpu.uuid": "GPU-9"}


def test_a_rank_says_itself_which_gpu_it_has() -> None:
    """The device of the steps, or of the job's assignment, comes before the order of numbers."""
    view = run_view(times({2: 1.5}), metrics=rows({0: HOT}))
    assert first(view)["id"] == "I12"

    assigned = [Event(START, "job_assigned", None, {"gpu.index": str(index)}, "h", rank) for rank, index in enumerate((3, 1, 2, 0))]
    swapped = run_view(times({3: 1.5}), metrics=rows({0: HOT}), events=assigned)
    assert (first(swapped)["id"], first(swapped)["entity"]["id"]) == ("I06", "GPU-0")
