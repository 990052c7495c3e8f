"""Answers without steps: errors that were reported, and ranks that hold up the others."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from models import hang
from models.errors import errors_of, stories
from models.render import render_verdict
from models.view import Event
from pinchpoint import records
from pinchpoint.store import IncidentFilter, open_store
from pipelines.analysis import diagnose_run
from pipelines.runs import by_run
from shippers.diagnose import diagnose

DATA = Path(__file__).parents[2] / "shared" / "data"
DAY = 1767225600 * 10**9


def ask(*paths):
    result = CliRunner().invoke(diagnose, [*map(str, paths), "--format", "json"], catch_exceptions=False)
    answer = json.loads(result.stdout)
    check_contract(answer)
    render_verdict(answer)
    return answer


def check_contract(answer):
    assert (answer["verdict"] == "slow") == bool(answer["incidents"])
    for incident in answer["incidents"]:
        lost = incident["symptom"]["lost_seconds"]
        assert sum(cause["lost_seconds"] for cause in incident["causes"]) + incident["unexplained_share"] * lost == pytest.approx(lost)
        assert all(cause["evidence"] and cause["why"] and cause["fix"] for cause in incident["causes"])
        assert incident["start"] <= incident["end"]


def causes(answer):
    return [(one["cause"], one["category"], f"{one['entity']['kind']}:{one['entity']['id']}") for incident in answer["incidents"]
            for one in incident["causes"]]


# Ranks -----------------------------------------------------------------------------------------------------------------


def member(enqueued, completed, *open_ones):
    return enqueued, completed, [{"seq": seq, "op": op, "p2p": op.startswith(("send", "recv")), "sizes": sizes, "dtypes": "[]",
                                  "state": "scheduled", "created_ns": DAY + seq} for seq, op, sizes in open_ones]


def dumps(groups):
    """Events of flight recorders, from {group: {rank: member}}; the ranks of a group are its keys, unless given as `ranks`."""
    states = {}
    for name, members in groups.items():
        ranks = members.pop("ranks", None) or ",".join(map(str, members))
        for rank, (enqueued, completed, open_ones) in members.items():
            states.setdefault(rank, []).append({"name": name, "description": "d", "ranks": ranks, "enqueued": enqueued,
                                                "completed": completed, "open": open_ones})
    return [Event(DAY, "collectives", None, {"flight_recorder": json.dumps({"rank": rank, "groups": mine})}, None, rank)
            for rank, mine in states.items()]


def wait(*seqs, op="all_reduce", sizes="[[4]]"):
    return [(seq, op, sizes) for seq in seqs]


def test_a_rank_that_did_not_come_is_named():
    """The others wait for it, and it waits for nobody."""
    found = hang.find(dumps({"7": {0: member(6, 5, *wait(6)), 1: member(5, 5), 2: member(6, 5, *wait(6))}}))

    assert (found.absent, found.stuck, found.waiting) == ((1,), (), (0, 2))
    assert found.blocked_in[1] == "group 7 (d): 2 ranks wait in all_reduce 6, which rank 1 has not entered"


def test_a_rank_that_waits_itself_is_not_to_blame():
    """Rank 1 is missing in one group because it waits for rank 2 in another."""
    found = hang.find(dumps({"a": {0: member(6, 5, *wait(6)), 1: member(5, 5)}, "b": {1: member(9, 8, *wait(9)), 2: member(8, 8)}}))

    assert found.absent == (2,)


def test_a_device_that_stands_still_is_told_from_a_program_that_did_not_come():
    """The others ended what it has entered."""
    found = hang.find(dumps({"7": {0: member(8, 7, *wait(8)), 1: member(8, 5, *wait(6, 7, 8)), 2: member(8, 7, *wait(8))}}))

    assert (found.stuck, found.absent) == ((1,), ())


def test_a_broadcast_that_its_root_has_ended_blames_nobody():
    """The root need not wait for those who receive."""
    found = hang.find(dumps({"7": {0: member(6, 6), 1: member(6, 5, *wait(6, op="broadcast"))}}))

    assert found.stuck == ()


def test_another_collective_or_other_sizes_are_named():
    """The rank that differs from most; sizes of all_to_all may differ."""
    base = {0: member(6, 5, *wait(6)), 1: member(6, 5, *wait(6))}

    assert hang.find(dumps({"7": base | {2: member(6, 5, *wait(6, op="all_gather"))}})).unlike == (2,)
    assert hang.find(dumps({"7": base | {2: member(6, 5, *wait(6, sizes="[[5]]"))}})).unlike == (2,)
    uneven = {rank: member(6, 5, *wait(6, op="all_to_all", sizes=f"[[{rank}]]")) for rank in range(3)}
    assert hang.find(dumps({"7": uneven})).suspects == ()


def test_a_rank_without_a_dump_is_named_when_nobody_else_is():
    """A process that died writes none."""
    found = hang.find(dumps({"7": {"ranks": "0-2", 0: member(6, 5, *wait(6)), 1: member(6, 5, *wait(6))}}))

    assert (found.silent, found.suspects) == ((2,), (2,))


def test_sends_and_receives_tell_who_waits_for_whom():
    """Rank 1 is missing in a collective while it waits for what rank 2 does not send."""
    found = hang.find(dumps({"a": {0: member(6, 5, *wait(6)), 1: member(5, 5), 2: member(5, 5)},
                             "p": {1: member(1, 0, (1, "recv 0<-1", "")), 2: member(0, 0)}}))

    assert found.absent == (2,)


def test_ranks_that_all_wait_blame_nobody():
    """Then it is the network between them."""
    found = hang.find(dumps({"7": {rank: member(6, 5, *wait(6)) for rank in range(4)}}))

    assert (found.suspects, len(found.waiting)) == ((), 4)


def test_what_somebody_else_wrote_under_our_name_is_passed_over():
    """No crash, no answer."""
    assert hang.find([Event(0, "collectives", None, {"flight_recorder": text}) for text in (
        "", "[]", "{}", '{"rank": "x"}', "x", '{"rank": 1, "groups": [1]}', '{"rank": 1e999, "groups": []}',
        '{"rank": 1, "groups": [{"name": "a", "ranks": "0", "description": "", "enqueued": [], "completed": 1, "open": []}]}')]) is None


def fr(rank, *open_seqs, done=5):
    entries = [{"record_id": seq, "pg_id": 0, "process_group": ["0", "default_pg"], "collective_seq_id": seq,
                "profiling_name": "nccl:all_reduce",
                "time_created_ns": DAY + seq, "input_sizes": [[4]], "input_dtypes": ["Float"], "state": "scheduled", "is_p2p": False}
               for seq in open_seqs]
    return {"pg_config": {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1, 2]"}}, "nccl_version": "2.27.3", "entries": entries,
            "pg_status": {"0": {"last_enqueued_collective": max(open_seqs, default=done), "last_completed_collective": done}}}


@pytest.mark.parametrize(("ranks", "cause", "category", "entity"), [
    ([fr(0, 6), fr(1), fr(2, 6)], "hang_or_desync", "model", "rank:1"),
    ([fr(0, 8, done=7), fr(1, 6, 7, 8), fr(2, 8, done=7)], "rank_device_stopped", "infrastructure", "rank:1"),
    ([fr(0, 6), fr(1, 6), fr(2, 6)], "collective_stalled", "infrastructure", "run:unnamed"),
])
def test_dumps_of_a_run_that_hangs_give_an_incident(tmp_path, ranks, cause, category, entity):
    """Program, device or network, and which rank."""
    for rank, document in enumerate(ranks):
        (tmp_path / f"nccl_trace_rank_{rank}").write_text(json.dumps(document))
    answer = ask(tmp_path)

    assert causes(answer) == [(cause, category, entity)]
    assert answer["incidents"][0]["symptom"]["name"] == "hang"
    assert answer["summary"].startswith("The run stands still: ")
    if entity.startswith("rank"):
        assert answer["entities"][0] == {"entity": entity, "score": 1.0}


def test_dumps_without_an_open_collective_are_healthy(tmp_path):
    """Said with what that covers."""
    for rank in range(3):
        (tmp_path / f"rank_{rank}.json").write_text(json.dumps(fr(rank)))
    answer = ask(tmp_path)

    assert (answer["verdict"], answer["incidents"]) == ("healthy", [])
    assert "No collective is open in 3 dumps" in answer["summary"]


# Errors ----------------------------------------------------------------------------------------------------------------


def kernel(tmp_path, *lines):
    path = tmp_path / "kern.log"
    path.write_text("".join(f"Feb 20 {clock} node7 kernel: {message}\n" for clock, message in lines))
    return ask(path)


def test_a_healthy_kernel_log_is_silent(tmp_path):
    """A link that comes up once, a corrected error: that is no incident."""
    answer = kernel(tmp_path, ("10:00:00", "Linux version 6.1"), ("10:00:01", "ixgbe 0000:01:00.0 eth0: NIC Link is Down"),
                    ("10:00:02", "pcieport 0000:00:01.0: AER: Corrected error received: 0000:01:00.0"))

    assert answer["verdict"] == "healthy"
    assert "no errors in the kernel's log (3 lines)" in answer["summary"]


@pytest.mark.parametrize(("message", "cause", "category"), [
    ("NVRM: Xid (PCI:0000:9b:00): 79, GPU has fallen off the bus.", "gpu_vanished", "infrastructure"),
    ("NVRM: Xid (PCI:0000:9b:00): 48, pid=7, DBE", "ecc_errors", "infrastructure"),
    ("NVRM: Xid (PCI:0000:9b:00): 119, pid=7, Timeout", "gpu_driver_error", "infrastructure"),
    ("NVRM: Xid (PCI:0000:9b:00): 31, pid=7, name=python, Ch 8", "gpu_program_error", "process"),
    ("nvidia-nvswitch0: SXid (PCI:0000:59:00.0): 20034, Fatal, Link 30 LTSSM Fault Up", "gpu_hardware_error", "infrastructure"),
    ("Memory cgroup out of memory: Killed process 123 (python) total-vm:1kB", "out_of_memory_kill", "process"),
    ("Kernel panic - not syncing: Fatal exception", "kernel_failure", "infrastructure"),
    ("nfs: server 10.0.0.1 not responding, still trying", "storage_fault", "infrastructure"),
    ("nvidia 0000:9b:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=x", "pcie_fault", "infrastructure"),
    ("EDAC MC0: 1 UE memory read error on CPU_SrcID#0", "node_fault", "infrastructure"),
    ("INFO: task python:1071 blocked for more than 120 seconds.", "tasks_hang", "infrastructure"),
    ("mlx5_core 0000:5c:00.0: Detected insufficient power on the PCIe slot (27W).", "network_fault", "infrastructure"),
    ("thermal thermal_zone0: critical temperature reached (110 C), shutting down", "power_or_cooling_fault", "infrastructure"),
    ("VFS: file-max limit 1000000 reached", "host_limit_reached", "process"),
])
def test_each_kind_of_error_has_its_cause(tmp_path, message, cause, category):
    """With the host, and the line as evidence."""
    answer = kernel(tmp_path, ("10:00:00", message))

    assert causes(answer) == [(cause, category, "host:node7")]
    assert any(one["meaning"] == "Reported error" for one in answer["incidents"][0]["causes"][0]["evidence"])


def test_hardware_explains_what_follows_from_it(tmp_path):
    """A program error and a hung task beside a GPU that is lost are its consequences, and are said to be."""
    answer = kernel(tmp_path, ("10:00:00", "NVRM: Xid (PCI:0000:9b:00): 79, GPU has fallen off the bus."),
                    ("10:00:05", "NVRM: Xid (PCI:0000:9b:00): 31, pid=7, name=python"),
                    ("10:02:05", "INFO: task python:1071 blocked for more than 120 seconds."))

    assert causes(answer) == [("gpu_vanished", "infrastructure", "host:node7")]
    assert {one["cause"] for one in answer["incidents"][0]["rejected"]} >= {"gpu_program_error", "tasks_hang"}


def test_a_link_that_goes_down_again_and_again_is_an_incident(tmp_path):
    """Once it happens at every start."""
    answer = kernel(tmp_path, *((f"10:0{minute}:00", "ixgbe 0000:01:00.0 eth0: NIC Link is Down") for minute in range(6)))

    assert causes(answer) == [("network_fault", "infrastructure", "host:node7")]


def test_errors_far_apart_are_two_stories():
    """And so are two hosts, and what was planned beside what broke."""
    def event(at_s, host, reason="GPU Lost"):
        return Event(at_s * 10**9, "fault_start", reason, {}, host)

    told = stories(errors_of([event(0, "a"), event(60, "a"), event(60, "b"), event(61, "a", "Taken offline"), event(5000, "a")]))

    assert [[one.event.time_ns // 10**9 for one in story] for story in told] == [[0, 60], [60], [61], [5000]]


def test_a_fault_list_gives_an_incident_for_each_fault(tmp_path):
    """From its start to its end, on its node; what says nothing is an incident without a cause."""
    path = tmp_path / "faults.ndjson"
    rows = [("2026-01-01T00:00:00Z", "n1", "fault_start", "GPU Lost"), ("2026-01-01T05:00:00Z", "n1", "fault_end", "GPU Lost"),
            ("2026-01-02T00:00:00Z", "n2", "fault_start", "Temporarily Offline"),
            ("2026-01-03T00:00:00Z", "n3", "fault_start", "Unknown Error")]
    path.write_text("".join(json.dumps({"kind": "event", "@timestamp": at, "host.name": host, "event.action": action,
                                        "event.reason": reason}) + "\n" for at, host, action, reason in rows))
    answer = ask(path)

    assert causes(answer) == [("gpu_vanished", "infrastructure", "host:n1"), ("taken_out_of_service", "process", "host:n2")]
    assert [(one["start"][:13], one["end"][:13]) for one in answer["incidents"]] == [
        ("2026-01-01T00", "2026-01-01T05"), ("2026-01-02T00", "2026-01-02T00"), ("2026-01-03T00", "2026-01-03T00")]


def test_errors_join_the_run_of_their_time(tmp_path):
    """A kernel log without a host beside steps; what lies days away is not of the run."""
    steps = [json.dumps({"kind": "step", "@timestamp": DAY + number * 10**9, "run.id": "r", "rank": 0, "step": number, "duration_s": 1.0,
                         "phase.forward_s": 0.99}) for number in range(100)]
    (tmp_path / "run.ndjson").write_text("\n".join(steps) + "\n")
    (tmp_path / "dmesg").write_text("[Thu Jan  1 00:00:50 2026] NVRM: Xid (PCI:0000:9b:00): 79, GPU has fallen off the bus.\n"
                                    "[Sun Jan 25 00:00:50 2026] Kernel panic - not syncing: x\n")
    answer = ask(tmp_path)

    assert causes(answer) == [("gpu_vanished", "infrastructure", "gpu:0000:9b:00.0")]
    assert answer["observed"]["steps"] == 100


# Published -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "ranks", "cause"), [
    ("gpu_error_1st", "12,14", "rank_device_stopped"), ("lock_gil_1st", "9,14", "hang_or_desync")])
def test_published_dumps_name_the_ranks_that_were_disturbed(tmp_path, name, ranks, cause):
    """NVIDIA's own: both ranks of both dumps."""
    folder = DATA / "nvrx_flight_recorder" / "dev" / name
    if not folder.exists():
        pytest.skip("the published dumps are not here")
    for path in folder.glob("rank_*.json"):
        shutil.copy(path, tmp_path)

    assert [(one, entity) for one, _, entity in causes(ask(tmp_path))] == [(cause, f"rank:{ranks}")]


# Again and again -------------------------------------------------------------------------------------------------------


def land(lake, *events):
    store = open_store(str(lake))
    for number, (at_s, host, run, reason) in enumerate(events):
        store.append("event", records.batch("event", {
            "@timestamp": [DAY + at_s * 10**9], "event.id": [f"e{number}"], "run.id": [run], "host.name": [host],
            "event.action": ["gpu_error"], "event.reason": [reason],
            "labels": [[("error.kind", "gpu_lost"), ("error.blame", "hardware"), ("error.severity", "fatal")]]}), f"s{number}")
    return store


def test_analysing_again_gives_the_same_incidents(tmp_path):
    """Errors of two hosts at the same time stay two, each under its own id."""
    store = land(tmp_path, (0, "a", None, "lost"), (1, "b", None, "lost"), (4, "a", None, "lost again"))
    first = diagnose_run(str(tmp_path))["incidents"]
    second = diagnose_run(str(tmp_path))["incidents"]

    assert [(one["hosts"], one["id"]) for one in first] == [(one["hosts"], one["id"]) for one in second]
    assert len({one["id"] for one in first}) == 2
    assert len(store.query_incidents(IncidentFilter())) == 2


def test_what_concerns_a_run_is_not_answered_for_without_it():
    """By run, by the host of its ranks, by neither; what belongs to no run only where it is asked for."""
    batch = records.batch("event", {"@timestamp": [1, 2, 3, 4, 5], "run.id": ["r", None, None, None, None],
                                    "host.name": ["x", "a", "b", None, "b"],
                                    "event.action": ["gpu_error", "gpu_error", "gpu_error", "oom", "deploy"]})

    def given(runs, places, start):
        return sorted((run, time) for run, part in by_run(batch, runs, places, start) for time in part.column(0).cast("int64").to_pylist())

    assert given(["r"], [("a", "r")], 0) == [("", 3), ("r", 1), ("r", 2), ("r", 4)]
    assert given(["r"], [("a", "r")], None) == [("r", 1), ("r", 2), ("r", 4)]
    assert given([], [], 3) == [("", 3), ("", 4)]
    assert given([], [("b", "old")], 0) == [("", 2), ("", 4)]
