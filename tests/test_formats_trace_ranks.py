"""Traces of several ranks together: clocks in line, waits told from transfers, the late rank named."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from shippers.diagnose import diagnose
from shippers.formats import open_input
from shippers.formats.trace_ranks import meet

STEPS, STEP_US = 12, 100_000.0
#: UTC ns at which the clock of these traces begins.
BASE_NS = 1_760_000_000_000_000_000


def event(name, category, start, lasts, **args):
    return {"ph": "X", "name": name, "cat": category, "ts": start, "dur": lasts, "pid": 1, "tid": 1, "args": args}


def rank_events(late_us, *, launches=True, collective="ncclDevKernel_AllReduce_Sum_bf16_RING_LL"):
    """Steps in which a rank computes for 40 ms and comes `late_us` after that; all leave 70 ms after the step began."""
    found = []
    for step in range(STEPS):
        begin = 1000.0 + STEP_US * step
        enters = begin + 40_000 + late_us
        group = {"Process Group Name": "0", "Process Group Ranks": "[0, 1, 2]", "In msg nelems": 1000}
        found += [event(f"ProfilerStep#{step}", "user_annotation", begin, STEP_US),
                  event("gemm", "kernel", begin + 10, 39_000, correlation=step),
                  event(collective, "kernel", enters, begin + 70_000 - enters, correlation=1000 + step, **group),
                  event("adam", "kernel", begin + 70_000, 29_000, correlation=2000 + step)]
        if launches:
            found += [event("cudaLaunchKernel", "cuda_runtime", begin + 5 + number, 1, correlation=number + step)
                      for number in (0, 1000, 2000)]
    return found


def write(path, events, rank=None, base_ns=BASE_NS):
    about = {} if rank is None else {"distributedInfo": {"backend": "nccl", "rank": rank, "world_size": 3}}
    path.write_text(json.dumps({"schemaVersion": 1, **about, "traceEvents": events, "baseTimeNanoseconds": base_ns}))
    return path


def read(*paths):
    found = []
    for path in paths:
        reading = open_input(path)
        list(reading)
        found += reading.meetings
    return found


def folder_of(tmp_path, late_us=(0, 25_000, 0), bases=(0, 0, 0)):
    folder = tmp_path / "traces"
    folder.mkdir()
    for rank, (late, ahead_s) in enumerate(zip(late_us, bases, strict=True)):
        write(folder / f"{rank}.json", rank_events(late), rank, BASE_NS + round(ahead_s * 1e9))
    return folder


def answer(*paths):
    done = CliRunner().invoke(diagnose, [*map(str, paths), "--format", "json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_waits_are_told_from_transfers(tmp_path):
    """Until the last rank comes the others wait; from then on all transfer."""
    folder = folder_of(tmp_path)
    together = meet(read(*sorted(folder.iterdir())))

    assert set(together.last) == {1}
    assert together.waits_s == pytest.approx([STEPS * 0.025, 0.0, STEPS * 0.025])
    assert together.transfers_s == pytest.approx([STEPS * 0.005] * 3)


def test_clocks_of_hosts_are_brought_in_line(tmp_path):
    """Hosts may be minutes apart: what follows from the collectives is the same, and offsets come out."""
    apart = folder_of(tmp_path, bases=(0, 0, 312.5))
    together = meet(read(*sorted(apart.iterdir())))

    assert (together.offset_ns - together.offset_ns[0]).tolist() == [0, 0, 312_500_000_000]
    assert together.waits_s == pytest.approx([STEPS * 0.025, 0.0, STEPS * 0.025], abs=1e-6)


@pytest.mark.parametrize("bases", [(0, 0, 0), (0, 0, 312.5), (-40, 7, 0)])
def test_the_late_rank_is_named(tmp_path, bases):
    """Whatever its clock says, and though the device of every rank computes for as long."""
    found = answer(folder_of(tmp_path, bases=bases))
    incident = found["incidents"][0]

    assert found["observed"]["ranks"] == 3
    assert found["entities"][0]["entity"] == "rank:1"
    assert incident["causes"][0]["cause"] == "late_rank"
    assert incident["causes"][0]["entity"] == {"kind": "rank", "id": "1"}
    assert incident["causes"][0]["lost_seconds"] == pytest.approx(STEPS * 0.025, rel=0.1)
    assert any("3 ranks, in line by 12 collectives" in note for one in found["inputs"] for note in one["notes"])


def test_ranks_that_come_together_are_no_incident(tmp_path):
    """Nobody is blamed when all enter at the same time."""
    causes = [cause["cause"] for one in answer(folder_of(tmp_path, late_us=(0, 0, 0)))["incidents"] for cause in one["causes"]]

    assert "late_rank" not in causes


def test_a_trace_that_tells_no_rank_is_known_by_its_name(tmp_path):
    """As torch's handler for TensorBoard names its files; what the trace says itself goes first."""
    names = [write(tmp_path / name, rank_events(0)) for name in ("host_rank3.json", "worker12.17.pt.trace.json", "trace.json")]
    told = write(tmp_path / "rank7.json", rank_events(0), rank=5)

    assert [one.rank for one in read(*names, told)] == [3, 12, 0, 5]


def test_steps_that_differ_do_not_count(tmp_path):
    """Where one rank's recording lacks a collective nobody knows which one it is; the other steps are still held together."""
    whole = rank_events(0)
    lacking = [one for one in rank_events(25_000) if one["args"].get("correlation") != 1003]
    together = meet(read(write(tmp_path / "a", whole, 0), write(tmp_path / "b", lacking, 1)))

    assert len(together.entered) == STEPS - 1
    assert set(together.last) == {1}


def test_what_ranks_do_not_leave_together_sets_no_clock(tmp_path):
    """A broadcast ends for its root when the others still wait."""
    broadcast = rank_events(0, collective="ncclDevKernel_Broadcast_RING_LL")

    assert meet(read(write(tmp_path / "a", broadcast, 0), write(tmp_path / "b", broadcast, 1))) is None


def generic(late_us):
    """The same as RCCL and newer NCCL record it: kernels of one name, and calls that say what they do."""
    events = rank_events(late_us)
    for one in events:
        if "nccl" in one["name"]:
            one |= {"name": "ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)", "args": {"correlation": one["args"]["correlation"]}}
    for step in range(STEPS):
        begin = 1000.0 + STEP_US * step
        # around the launch of the kernel
        events.append(event("record_param_comms", "cpu_op", begin + 1004, 3, Rank=1, **{
            "Collective name": "allreduce", "Process Group Name": "0", "Process Group Ranks": "[0, 1, 2]", "In msg nelems": 1000}))
    return events


def test_calls_say_what_kernels_do_that_have_one_name(tmp_path):
    """Kernels of RCCL and newer NCCL do not; a trace with such kernels meets one with telling names."""
    together = meet(read(write(tmp_path / "a", generic(0), 0), write(tmp_path / "b", generic(25_000), 1)))
    mixed = meet(read(write(tmp_path / "c", rank_events(0), 0), write(tmp_path / "d", generic(25_000), 1)))

    assert len(together.entered) == len(mixed.entered) == STEPS
    assert set(together.last) == set(mixed.last) == {1}


def test_a_rank_that_only_its_collectives_tell(tmp_path):
    """Calls name the rank of the process."""
    assert [one.rank for one in read(write(tmp_path / "trace", generic(0)))] == [1]


def test_one_trace_alone_has_nobody_to_meet(tmp_path):
    """And a trace without collectives neither."""
    alone = write(tmp_path / "a", rank_events(0), 0)
    without = write(tmp_path / "b", [one for one in rank_events(0) if "nccl" not in one["name"]], 1)

    assert meet(read(alone)) is None
    assert meet(read(alone, without)) is None


def test_a_clock_that_may_be_right_is_left_alone(tmp_path):
    """Ranks of one host share a clock, and leave a collective some microseconds apart."""
    noise = np.random.default_rng(3)
    paths = []
    for rank in range(3):
        events = rank_events(0)
        for one in events:
            if "nccl" in one["name"]:
                one["dur"] += float(noise.normal(0, 50))
        paths.append(write(tmp_path / f"{rank}", events, rank))

    assert meet(read(*paths)).offset_ns.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("elements", "cause"), [(30_000_000, "collectives_wait"), (900_000_000, "communication_bound")])
def test_slow_links_are_told_from_much_to_send(tmp_path, elements, cause):
    """By what a link carried: 60 MB in 30 ms are far less than any link gives, 1.8 GB are as much as the best do."""
    events = []
    for step in range(STEPS):
        begin = 1000.0 + STEP_US * step
        events += [event(f"ProfilerStep#{step}", "user_annotation", begin, STEP_US), event("gemm", "kernel", begin, 69_000),
                   event("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", "kernel", begin + 70_000, 30_000, **{
                       "Process Group Name": "0", "In msg nelems": elements, "dtype": "BFloat16", "Group size": 8})]
    incident = answer(write(tmp_path / "t.json", events, 0))["incidents"][0]

    assert [one["cause"] for one in incident["causes"]] == [cause]
    assert incident["causes"][0]["lost_seconds"] == pytest.approx(STEPS * 0.03, rel=0.01)


def test_a_device_that_waits_for_the_host_between_long_kernels(tmp_path):
    """Half of the time idle is no healthy run, however long its kernels are."""
    events = []
    for step in range(STEPS):
        begin = 1000.0 + STEP_US * step
        events += [event(f"ProfilerStep#{step}", "user_annotation", begin, STEP_US), event("gemm", "kernel", begin, 45_000)]

    assert answer(write(tmp_path / "t.json", events, 0))["incidents"][0]["causes"][0]["cause"] == "host_bound"
