"""Errors among the lines of a job become events, and the causes that they speak for are named."""

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
    b"recompile_limit = 8", b"exitcode: 0", b"DataLoader worker count: 4", b"export NCCL_DEBUG=WARN"])
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
