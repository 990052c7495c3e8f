"""Errors among the lines of a job become events, and the causes that they speak for are named."""

import json
import time

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pinchpoint.gpu_errors.findings import SEVERITIES
from pinchpoint.gpu_errors.job_lines import read_job_line
from pinchpoint.gpu_errors.rules import job_rules
from shippers.diagnose import diagnose
from shippers.formats import open_input

OOM = ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 3 has a total capacity of 79.10 GiB of which 20.75 MiB "
       "is free.")
TIMEOUT = ("[rank3]:[E1101 10:00:00.123456 ProcessGroupNCCL.cpp:607] [Rank 3] Watchdog caught collective operation timeout: "
           "WorkNCCL(SeqNum=12, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600123 milliseconds.")
LINES = [
    (OOM, "oom", "cuda_oom", {"error.device": "3"}),
    ("RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 15.78 GiB total capacity)", "oom", "cuda_oom",
     {"error.device": "0"}),
    ("[WARNING] [stage3.py:2069:step] 3 pytorch allocator cache flushes since last step. this happens when there is high memory pressure",
     "job_error", "allocator_retry", {}),
    ("[titan] 2026-01-01 10:00:00,123 - root - WARNING - 2 CUDA memory allocation retries.", "job_error", "allocator_retry", {}),
    ("W0101 torch._dynamo hit config.recompile_limit (8)", "job_error", "recompile_limit", {}),
    ("[WARNING] torch._dynamo hit config.cache_size_limit (64)", "job_error", "recompile_limit", {}),
    ("RuntimeError: DataLoader worker (pid 71) is killed by signal: Killed. ", "oom", "worker_killed", {"oom.pid": "71"}),
    ("ERROR: DataLoader worker (pid 71) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory.",
     "job_error", "shared_memory_full", {"process.pid": "71"}),
    ("RuntimeError: DataLoader worker (pid(s) 71, 72) exited unexpectedly", "job_error", "worker_died", {"process.pid": "71, 72"}),
    ("RuntimeError: DataLoader worker (pid 71) is killed by signal: Segmentation fault.", "job_error", "worker_died",
     {"process.pid": "71", "signal": "Segmentation fault"}),
    (TIMEOUT, "job_error", "collective_timeout", {"nccl.rank": "3", "nccl.seq": "12", "nccl.op": "ALLREDUCE"}),
    ("node1:7:9 [0] misc/socket.cc:50 NCCL WARN socketProgress: Connection closed by remote peer", "job_error", "nccl_warning", {}),
    ("E1101 api.py:833] failed (exitcode: -9) local_rank: 2 (pid: 71) of binary: /usr/bin/python", "job_error", "process_killed",
     {"local.rank": "2"}),
    ("  traceback : Signal 9 (SIGKILL) received by PID 71", "job_error", "process_killed", {"process.pid": "71"}),
    ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ", "job_error", "child_failed", {}),
    ("n1:7:9 [0] NCCL INFO Using network Socket", "job_error", "nccl_socket", {}),
    ("n1:7:9 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/RoCE [RO]; OOB eth0:10.0.0.1<0>", "job_error", "nccl_ib_found",
     {"error.device": "mlx5_0"}),
    ("n1:7:9 [0] NCCL INFO NCCL_IB_DISABLE set by environment to 1.", "job_error", "nccl_ib_unused", {}),
    ("n1:7:9 [0] NCCL INFO comm 0x55 rank 0 nRanks 16 nNodes 2 localRanks 8 localRank 0 MNNVL 0", "job_error", "nccl_nodes", {}),
    ("n1:7:9 [0] NCCL INFO NCCL_P2P_DISABLE set by environment to 1.", "job_error", "nccl_p2p_disabled", {}),
    ("n1:7:9 [0] misc/socket.cc:484 NCCL WARN socketStartConnect: Connect to 10.0.0.2<40213> failed : Connection refused", "job_error",
     "nccl_connection", {"nccl.peer": "10.0.0.2<40213>"}),
    ("n1:7:9 [0] include/socket.h:403 NCCL WARN Call to connect to 10.0.0.2<40213> failed : No route to host", "job_error",
     "nccl_connection", {}),
    ("UserWarning: This DataLoader will create 32 worker processes in total. Our suggested max number of worker in current system is 4, "
     "which is smaller than what this DataLoader is going to create.", "job_error", "too_many_workers", {}),
    ("W0101 CUDAGraph supports dynamic shapes by recording a new graph for each distinct input size. We have observed 9 distinct sizes.",
     "job_error", "cudagraph_sizes", {}),
    ("skipping cudagraphs due to mutated inputs (1 instances)", "job_error", "cudagraphs_skipped", {}),
    ("UserWarning: TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled. Consider setting",
     "job_error", "tensor_cores_unused", {}),
    ("You are using a CUDA device ('NVIDIA A100') that has Tensor Cores. To properly utilize them, you should set", "job_error",
     "tensor_cores_unused", {}),
    ("UserWarning: expandable_segments not supported on this platform", "job_error", "allocator_setting", {}),
    ("[INFO] [loss_scaler.py:190] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536", "job_error", "step_skipped", {}),
    ("Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 32768.0", "job_error", "step_skipped", {}),
    ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.", "oom", "step_oom_killed",
     {}),
    ("slurmstepd: error: *** JOB 7 ON node1 CANCELLED AT 2026-01-01T10:00:00 DUE TO PREEMPTION ***", "job_error", "job_cancelled", {}),
    ("[default] Worker group FAILED. 3/3 attempts left; will restart worker group", "job_error", "workers_restarted", {}),
    ("torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 3/4 clients joined.", "job_error",
     "rendezvous_failed", {}),
    ("The node 'n1_7_0' has failed to send a keep-alive heartbeat to the rendezvous '7' due to an error", "job_error", "node_silent", {}),
    ("{'loss': nan, 'learning_rate': 1e-05}", "job_error", "loss_nan", {}),
    (" iteration 5/ 10 | lm loss: NaN | loss scale: 1.0 |", "job_error", "loss_nan", {}),
]


@pytest.mark.parametrize(("line", "action", "kind", "labels"), LINES)
def test_the_lines_that_people_meet(line, action, kind, labels):
    """What happened, and where the line says so, to whom."""
    finding = read_job_line(line.encode())

    assert finding is not None
    assert (finding.action, finding.kind) == (action, kind)
    assert labels.items() <= finding.event_labels().items()


@pytest.mark.parametrize("line", [
    b"", b"loss: 2.0", b"nanogpt loss: 2.1", b"NCCL INFO Connected all rings", b"0 CUDA memory allocation retries.", b"loss: nano",
    b"recompile_limit = 8",
    b"NCCL INFO Using network IB", b"NCCL INFO NET/IB : No device found.",
    b"0 oom_kill events",
    b"NCCL INFO comm 0x1 rank 0 nRanks 8 nNodes 1 localRanks 8", b"NCCL_IB_DISABLE set by environment to 0.", b"Tensor Cores",
    b"exitcode: 0", b"DataLoader worker count: 4", b"export NCCL_DEBUG=WARN"])
def test_healthy_lines_are_no_errors(line):
    """Settings and counts of zero are none."""
    assert read_job_line(line) is None


def test_every_rule_is_known_by_a_line_and_names_a_severity():
    """No rule stands in the table that no line reaches."""
    assert {rule.kind for rule in job_rules()} == {kind for _, _, kind, _ in LINES}
    assert {rule.severity for rule in job_rules()} <= set(SEVERITIES)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_line_breaks_the_reader(line):
    """Whatever a log holds."""
    for prefix in (b"", b"NCCL WARN ", b"DataLoader worker (pid(s) ", b"loss=nan"):
        read_job_line(prefix + line)


def test_hostile_lines_take_linear_time():
    """A line is cut before it is looked at, and no pattern begins anew without a bound."""
    begun = time.perf_counter()
    for piece in ("[Rank 1]", "loss ", "DataLoader worker (pid ", "out of memory. Tried to allocate 1.", "failed (exitcode: -"):
        for _ in range(50):
            read_job_line((piece * (1_000_000 // len(piece))).encode() + b"nan")
            read_job_line((piece * (900 // len(piece))).encode() + b"nan NCCL")

    assert time.perf_counter() - begun < 2.0


def test_the_same_error_is_told_once_a_minute(tmp_path):
    """Hundreds of ranks print the same; lines without a time belong to the last that had one."""
    log = tmp_path / "job.log"
    log.write_text("2026-01-01 10:00:00 start\n" + f"{TIMEOUT}\n" * 200 + "2026-01-01 10:05:00,1 again\n" + f"{TIMEOUT}\n{OOM}\n")

    reading = open_input(log)
    events = [row for _, batch in reading for row in batch.to_pylist()]

    assert reading.reader == "job_errors"
    assert [(row["@timestamp"].strftime("%H:%M"), row["event.action"]) for row in events] == [
        ("10:00", "job_error"), ("10:05", "job_error"), ("10:05", "oom")]
    assert {row["run.id"] for row in events} == {None}
    assert len({row["event.id"] for row in events}) == 3


def test_errors_stand_among_the_steps_of_a_training_log(tmp_path):
    """Their time is that of the step after which they were printed."""
    log = tmp_path / "run.out"
    log.write_text("".join(f"iter {n}: loss 2.0, time 1000.0ms\n" for n in range(1, 11)) + OOM + "\n")

    events = [row for kind, batch in open_input(log) if kind == "event" for row in batch.to_pylist()]

    assert [row["@timestamp"].timestamp() for row in events] == [10.0]


@pytest.mark.parametrize(("line", "cause"), [
    (OOM, "near_oom_retries"), ("torch._dynamo hit config.recompile_limit (8)", "shape_churn"), (TIMEOUT, "collective_timed_out"),
    ("RuntimeError: DataLoader worker (pid 71) is killed by signal: Killed. ", "out_of_memory_kill"),
    ("ERROR: DataLoader worker (pid 71) is killed by signal: Bus error. ", "host_limit_reached"),
    ("RuntimeError: DataLoader worker (pid(s) 71, 72) exited unexpectedly", "loader_worker_died"), ("loss: nan", "loss_not_a_number")])
def test_the_cause_is_named(tmp_path, line, cause):
    """One line is enough where it leaves no doubt."""
    log = tmp_path / "job.log"
    log.write_text("".join(f"2026-01-01 10:{minute:02d}:00 {line}\n" for minute in range(2)))

    answer = CliRunner().invoke(diagnose, [str(log)])

    assert cause in answer.output


SOCKET, IB, NOT_IB, NODES = (line for line, _, kind, _ in LINES if kind in ("nccl_socket", "nccl_ib_found", "nccl_ib_unused", "nccl_nodes"))


@pytest.mark.parametrize(("lines", "causes"), [
    ([IB, SOCKET], ["wrong_comm_backend"]), ([NOT_IB, SOCKET, NODES], ["wrong_comm_backend"]), ([SOCKET, NODES], []),
    ([NOT_IB, SOCKET], []), ([IB, NODES], [])])
def test_sockets_are_wrong_where_there_is_something_better(tmp_path, lines, causes):
    """Between nodes without InfiniBand, and within one node, they are what there is."""
    log = tmp_path / "nccl.log"
    log.write_text("\n".join(lines) + "\n")
    events = [row for _, batch in open_input(log) for row in batch.to_pylist()]

    assert ["nccl_socket"] * len(causes) == [dict(row["labels"])["error.kind"] for row in events]
    if causes:
        answer = json.loads(CliRunner().invoke(diagnose, ["--format", "json", str(log)]).stdout)
        assert [cause["cause"] for one in answer["incidents"] for cause in one["causes"]] == causes
