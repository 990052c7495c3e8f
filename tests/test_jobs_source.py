"""Which job, rank and container has which process and GPU, from environments, control groups and job files."""

import contextlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_spool import as_row

from pinchpoint.clock import NS, SYSTEM_CLOCK, HeldClock
from shippers.items import Item
from shippers.redact import Redactor
from shippers.sources.job_files import read_job_files
from shippers.sources.job_places import place_of, variables
from shippers.sources.jobs import JobSource
from shippers.sources.pod_resources import SOCKET, _response, places

NOW_NS = HeldClock().now_ns()
POD = "0f2c3a44-1b2c-4d5e-8f90-a1b2c3d4e5f6"
CONTAINER = "c" * 64


@pytest.mark.parametrize(("cgroup", "expected"), [
    ("4:memory:/slurm/uid_1000/job_123/step_0/task_1\n",
     {"job.scheduler": "slurm", "job.id": "123", "job.step": "0", "run.id": "slurm-123"}),
    ("0::/system.slice/slurmstepd.scope/job_123/step_batch/user/task_0\n",
     {"job.scheduler": "slurm", "job.id": "123", "job.step": "batch", "run.id": "slurm-123"}),
    ("0::/system.slice/node1_slurmstepd.scope/job_9\n", {"job.scheduler": "slurm", "job.id": "9", "run.id": "slurm-9"}),
    (f"5:memory:/kubepods/burstable/pod{POD}/{CONTAINER}\n",
     {"container.id": CONTAINER, "pod.uid": POD, "job.scheduler": "kubernetes"}),
    (f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope\n",
     {"container.id": CONTAINER, "pod.uid": POD, "job.scheduler": "kubernetes"}),
    (f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/crio-{CONTAINER}.scope\n",
     {"container.id": CONTAINER, "pod.uid": POD, "job.scheduler": "kubernetes"}),
    (f"0::/../../kubepods-besteffort-pod{POD.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope/inner\n",
     {"container.id": CONTAINER, "pod.uid": POD, "job.scheduler": "kubernetes"}),
    (f"5:cpu:/docker/{CONTAINER}\n", {"container.id": CONTAINER}),
    (f"0::/system.slice/docker-{CONTAINER}.scope\n", {"container.id": CONTAINER}),
    (f"0::/machine.slice/libpod-{CONTAINER}.scope/container\n", {"container.id": CONTAINER}),
    ("0::/user.slice/user-1000.slice/session-3.scope\n", {}),
    ("", {}),
])
def test_control_groups_name_jobs_pods_and_containers(cgroup: str, expected: dict[str, str]) -> None:
    """Version 1 and 2, of SLURM, the kubelet with both drivers, Docker and Podman."""
    assert place_of({}, cgroup) == expected


@pytest.mark.parametrize(("environment", "expected"), [
    ({"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "16", "SLURM_PROCID": "2"},
     {"rank": "5", "local_rank": "1", "world_size": "16", "rank.source": "RANK"}),
    ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4"},
     {"rank": "2", "local_rank": "0", "world_size": "4", "rank.source": "OMPI_COMM_WORLD_RANK"}),
    ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train",
      "SLURM_ARRAY_JOB_ID": "6", "SLURM_ARRAY_TASK_ID": "1"},
     {"job.scheduler": "slurm", "job.id": "7", "job.step": "0", "job.name": "train", "job.array_id": "6", "job.array_task": "1",
      "run.id": "slurm-7", "rank": "1", "world_size": "2", "rank.source": "SLURM_PROCID"}),
    ({"RANK": "x", "LOCAL_RANK": "-1"}, {}),
    ({"RANK": "9" * 30, "PMI_RANK": "\u0663"}, {}),
    ({"PINCHPOINT_RUN_ID": "r", "TORCHELASTIC_RUN_ID": "none"}, {"run.id": "r"}),
    ({"TORCHELASTIC_RUN_ID": "none", "CUDA_VISIBLE_DEVICES": "0"}, {}),
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "train-3", "POD_NAMESPACE": "ml"},
     {"pod.name": "train-3", "pod.namespace": "ml", "job.scheduler": "kubernetes"}),
    ({"RANK": "1", "LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": "4,5"},
     {"rank": "1", "local_rank": "1", "rank.source": "RANK", "gpus": "4,5", "gpu.index": "5"}),
    ({"RANK": "1", "CUDA_VISIBLE_DEVICES": "GPU-a"}, {"rank": "1", "rank.source": "RANK", "gpus": "GPU-a", "gpu.uuid": "GPU-a"}),
    ({"RANK": "1", "LOCAL_RANK": "0", "CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_GPUS": "6,7"},
     {"rank": "1", "local_rank": "0", "rank.source": "RANK", "gpus": "6,7", "gpu.index": "6"}),
    ({"RANK": "1", "SLURM_JOB_GPUS": "6,7"}, {"rank": "1", "rank.source": "RANK", "gpus": "6,7"}),
    ({"RANK": "1", "NVIDIA_VISIBLE_DEVICES": "all"}, {"rank": "1", "rank.source": "RANK"}),
    ({"RANK": "1", "CUDA_VISIBLE_DEVICES": ""}, {"rank": "1", "rank.source": "RANK"}),
])
def test_environments_name_ranks_and_gpus(environment: dict[str, str], expected: dict[str, str]) -> None:
    """The launcher's own rank is believed before the scheduler's; a job's own numbers of GPUs become those of the host."""
    assert place_of(environment, "") == expected


def test_only_known_variables_are_looked_at() -> None:
    """Environments hold secrets, and bytes that are no text."""
    assert variables(b"AWS_SECRET_ACCESS_KEY=x\0RANK=1\0=\0RANKS\0LOCAL_RANK=\xff\0HOSTNAME=" + b"h" * 1000) == {
        "RANK": "1", "LOCAL_RANK": "\ufffd", "HOSTNAME": "h" * 200}


class Host:
    """Kernel files of a made-up host."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("sys/kernel/random/boot_id", b"boot\n")
        self.write("stat", b"cpu 1\nbtime 1767225000\n")
        self.clock = HeldClock()

    def write(self, name: str, data: bytes) -> None:
        path = self.root / "proc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def start(self, pid: int, parent: int = 1, started: int = 100, cgroup: str = "0::/\n", **environment: str) -> None:
        self.write(f"{pid}/stat", f"{pid} (a) b) S {parent} {'0 ' * 17}{started} {'0 ' * 30}\n".encode())
        self.write(f"{pid}/environ", "".join(f"{name}={value}\0" for name, value in environment.items()).encode())
        self.write(f"{pid}/cgroup", cgroup.encode())

    def end(self, pid: int) -> None:
        for path in (self.root / "proc" / str(pid)).iterdir():
            path.unlink()
        (self.root / "proc" / str(pid)).rmdir()

    def source(self, job_folder: Path | None = None, position: str = "jobs.json") -> "Reader":
        return Reader(position=self.root / position, clock=self.clock, job_folder=job_folder, root=self.root)


class Reader:
    """A source whose events are returned by the call that made them."""

    def __init__(self, **settings: Any) -> None:
        self._items: list[Item] = []
        self.broken = False
        self.source = JobSource("h", push=self._push, redact=Redactor(), **settings)

    def _push(self, items: list[Item]) -> None:
        if self.broken:
            raise OSError("no space left on device")
        for item in items:
            as_row(item)
        self._items += items

    def read(self) -> list[Item]:
        self.source.poll()
        items, self._items = self._items, []
        return items


def told(items: list[Item]) -> list[tuple[str, Any, Any]]:
    documents = [json.loads(item.document) for item in items]
    return [(document["event.action"], document.get("rank"), document["labels"].get("process.pid")) for document in documents]


def test_a_rank_is_assigned_once_and_released_at_its_end(tmp_path: Path) -> None:
    """Its loader processes inherit its environment and are not told; the time is that of its start, then that of its end."""
    host = Host(tmp_path)
    host.start(10, SLURM_JOB_ID="7", RANK="3", LOCAL_RANK="1", CUDA_VISIBLE_DEVICES="0,1", SECRET="hunter2")
    host.start(11, parent=10, SLURM_JOB_ID="7", RANK="3", LOCAL_RANK="1", CUDA_VISIBLE_DEVICES="0,1")
    host.start(12, HOME="/")
    source = host.source()
    (assigned,) = source.read()
    assert source.read() == []
    host.end(10)
    host.end(11)
    host.clock.advance(60)
    (released,) = source.read()

    document = json.loads(assigned.document)
    assert document == {
        "event.id": assigned.id, "@timestamp": "2025-12-31T23:50:01Z", "event.action": "job_assigned", "host.name": "h",
        "run.id": "slurm-7",
        "rank": 3, "event.reason": "job.id 7, rank 3, gpus 0,1, gpu.index 1", "labels": {
            "job.scheduler": "slurm", "job.id": "7", "local_rank": "1", "rank.source": "RANK", "gpus": "0,1", "gpu.index": "1",
            "process.pid": "10"}}
    assert told([released]) == [("job_released", 3, "10")]
    assert json.loads(released.document)["@timestamp"] == "2026-01-01T00:01:00Z"
    assert source.read() == []


def test_ranks_below_a_launcher_are_told_each(tmp_path: Path) -> None:
    """Torchrun is a task of SLURM itself, and starts ranks of their own."""
    host = Host(tmp_path)
    host.start(10, SLURM_JOB_ID="7", SLURM_PROCID="1")
    for number in (0, 1):
        host.start(20 + number, parent=10, SLURM_JOB_ID="7", SLURM_PROCID="1", RANK=str(8 + number), LOCAL_RANK=str(number))

    assert told(host.source().read()) == [("job_assigned", 1, "10"), ("job_assigned", 8, "20"), ("job_assigned", 9, "21")]


def test_an_agent_that_starts_again_goes_on(tmp_path: Path) -> None:
    """Nothing is told again; without its position the same is told with the same ids, which stays one record."""
    host = Host(tmp_path)
    host.start(10, RANK="0")
    first = host.source().read()
    host.clock.advance(60)

    assert host.source().read() == []
    assert host.source(position="lost.json").read() == first


def test_what_ended_while_the_agent_was_away_is_released(tmp_path: Path) -> None:
    """A process that is gone, one whose number another one has, and all that a boot ended, which has the time of the boot."""
    host = Host(tmp_path)
    host.start(10, RANK="0")
    host.start(11, RANK="1")
    folder = tmp_path / "jobs"
    folder.mkdir()
    write_job(folder, "0", b"71\n")
    assert len(host.source(folder).read()) == 3
    host.end(10)
    host.start(11, started=900, RANK="1")
    assert told(host.source(folder).read()) == [("job_released", 0, "10"), ("job_released", 1, "11"), ("job_assigned", 1, "11")]

    host.end(11)
    host.write("sys/kernel/random/boot_id", b"next\n")
    host.write("stat", b"cpu 1\nbtime 1767226000\n")
    (released,) = host.source(folder).read()
    assert json.loads(released.document)["@timestamp"] == "2026-01-01T00:06:40Z"
    assert host.source(folder).read() == []


def test_a_spool_that_takes_nothing_loses_no_event(tmp_path: Path) -> None:
    """What was not pushed is pushed next time."""
    host = Host(tmp_path)
    host.start(10, RANK="0")
    source = host.source()
    source.broken = True
    with pytest.raises(OSError, match="no space"):
        source.read()
    source.broken = False

    assert told(source.read()) == [("job_assigned", 0, "10")]


def test_a_process_is_looked_at_again_after_its_program_began(tmp_path: Path) -> None:
    """Between its birth and its program a process has the environment of its parent."""
    host = Host(tmp_path)
    host.start(10, HOME="/")
    source = host.source()
    assert source.read() == []
    host.start(10, RANK="2")
    assert told(source.read()) == [("job_assigned", 2, "10")]


def test_a_number_that_is_given_again_is_noticed(tmp_path: Path) -> None:
    """Processes of no job are looked at seldom, but are looked at."""
    host = Host(tmp_path)
    host.start(10, HOME="/")
    source = host.source()
    source.read()
    source.read()
    host.start(10, started=500, RANK="2")

    assert [entry for _ in range(10) for entry in told(source.read())] == [("job_assigned", 2, "10")]


def test_job_files_tell_the_jobs_of_gpus(tmp_path: Path) -> None:
    """A whole GPU, a MIG instance, several jobs on one; a job that goes is released."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    host = Host(tmp_path)
    source = host.source(folder)
    write_job(folder, "0", b"71\n72\n")
    write_job(folder, "1.3", b"73")
    for name in ("readme", "1.x", ".hidden"):
        write_job(folder, name, b"99\n")
    assigned = [json.loads(item.document) for item in source.read()]
    write_job(folder, "0", b"72\n")
    (folder / "1.3").unlink()
    released = [json.loads(item.document) for item in source.read()]

    assert [document["labels"] for document in assigned] == [
        {"job.id": "71", "gpu.index": "0", "source": "job_folder"}, {"job.id": "72", "gpu.index": "0", "source": "job_folder"},
        {"job.id": "73", "gpu.index": "1", "gpu.instance": "3", "source": "job_folder"}]
    assert [(document["event.action"], document["labels"]["job.id"]) for document in released] == [
        ("job_released", "71"), ("job_released", "73")]


def write_job(folder: Path, name: str, data: bytes, *, age_s: float = 60.0) -> None:
    (folder / name).write_bytes(data)
    os.utime(folder / name, ns=(NOW_NS - int(age_s * NS),) * 2)


def test_a_job_file_counts_once_it_stands_still(tmp_path: Path) -> None:
    """Half a job number is never told; what was there before stays meanwhile."""
    write_job(tmp_path, "0", b"7", age_s=0.1)
    assert read_job_files(tmp_path, NOW_NS, {}) == {"0": ()}
    assert read_job_files(tmp_path, NOW_NS, {"0": ("6",)}) == {"0": ("6",)}
    write_job(tmp_path, "0", b"71\n", age_s=3)
    assert read_job_files(tmp_path, NOW_NS, {"0": ("6",)}) == {"0": ("71",)}


def test_job_files_that_make_no_sense_are_no_jobs(tmp_path: Path) -> None:
    """Links are not followed, lines that are no job ids are left out, a missing folder has no jobs."""
    (tmp_path / "target").write_text("99\n")
    (tmp_path / "2").symlink_to(tmp_path / "target")
    (tmp_path / "3").mkdir()
    write_job(tmp_path, "0", b"\xff\n\n  12 \nrm -rf /\n" + b"x" * 500 + b"\n12\n")

    assert read_job_files(tmp_path, NOW_NS, {}) == {"0": ("12",)}
    assert read_job_files(tmp_path / "none", NOW_NS, {}) == {}


def test_what_cannot_be_known_is_said(tmp_path: Path) -> None:
    """A missing folder, and a kubelet that does not answer; that no kubelet runs is no problem."""
    host = Host(tmp_path)
    source = host.source(tmp_path / "none")
    assert source.source.problem == f"{tmp_path}/none is not there: no prologue of the scheduler writes the jobs of each GPU to it"
    socket = tmp_path / SOCKET
    socket.parent.mkdir(parents=True)
    socket.write_bytes(b"")
    source.read()

    assert str(source.source.problem).startswith("the kubelet does not tell which pod has which GPU: UNAVAILABLE; ")


def listed(pods: dict[tuple[str, str, str], dict[str, list[str]]]) -> bytes:
    """An answer of the kubelet, by namespace, pod and container."""
    response = _response()()
    for (namespace, name, container), devices in pods.items():
        one = response.pod_resources.add(name=name, namespace=namespace).containers.add(name=container)
        for resource, ids in devices.items():
            one.devices.add(resource_name=resource, device_ids=ids)
    return bytes(response.SerializeToString())


class Kubelet:
    """A gRPC server on the kubelet's socket."""

    def __init__(self, root: Path) -> None:
        self.answer = b""
        self._server = grpc.server(ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: self.answer)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": handler}),))
        (root / SOCKET).parent.mkdir(parents=True, exist_ok=True)
        self._server.add_insecure_port(f"unix:{root / SOCKET}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()


def of_pods(items: list[Item]) -> list[tuple[str, str, str]]:
    documents = [json.loads(item.document) for item in items]
    return [(one["event.action"], one["labels"]["pod.name"], one["labels"].get("gpu.uuid") or one["labels"]["gpu.device"])
            for one in documents]


def test_the_kubelet_tells_which_pod_has_which_gpu(tmp_path: Path) -> None:
    """GPUs, MIG instances and shares of a GPU; processors and network cards are nobody's GPU. A kubelet that goes away releases nothing."""
    host, kubelet = Host(tmp_path), Kubelet(tmp_path)
    kubelet.answer = listed({
        ("ml", "train-0", "main"): {"nvidia.com/gpu": ["GPU-aa", "GPU-bb::2"], "cpu": ["3"], "rdma/hca": ["mlx5_0"]},
        ("ml", "serve-0", "main"): {"nvidia.com/mig-1g.10gb": ["MIG-cc"], "amd.com/gpu": ["0000:c1:00.0"]}})
    source = host.source()
    first = of_pods(source.read())
    again = of_pods(source.read())
    kubelet.answer = listed({("ml", "serve-0", "main"): {"nvidia.com/mig-1g.10gb": ["MIG-cc"]}})
    second = of_pods(source.read())
    kubelet.stop()
    third = of_pods(source.read())

    assert first == [("job_assigned", "train-0", "GPU-aa"), ("job_assigned", "train-0", "GPU-bb"), ("job_assigned", "serve-0", "MIG-cc"),
                     ("job_assigned", "serve-0", "0000:c1:00.0")]
    assert (again, third) == ([], [])
    assert sorted(second) == [("job_released", "serve-0", "0000:c1:00.0"), ("job_released", "train-0", "GPU-aa"),
                              ("job_released", "train-0", "GPU-bb")]


@given(st.binary(max_size=200))
def test_no_answer_of_a_kubelet_is_fatal(answer: bytes) -> None:
    """Whatever bytes it sends are places, or no answer."""
    with contextlib.suppress(ValueError):
        assert isinstance(places(answer), dict)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_environment_that_may_not_be_read_has_a_name(tmp_path: Path) -> None:
    """What it hides is not taken for no job."""
    host = Host(tmp_path)
    host.start(10)
    (tmp_path / "proc/10/environ").chmod(0)
    source = host.source()
    source.read()

    assert "environments of some processes cannot be read" in str(source.source.problem)


def test_a_real_process_is_found_and_seen_to_end(tmp_path: Path) -> None:
    """Through the real /proc, with its own start time, which is now."""
    source = Reader(position=tmp_path / "jobs.json", clock=SYSTEM_CLOCK)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                               env={"RANK": "4294967", "CUDA_VISIBLE_DEVICES": "0"})
    try:
        deadline = time.monotonic() + 20
        while ("job_assigned", 4294967, str(process.pid)) not in told(items := source.read()):
            assert time.monotonic() < deadline
        document = next(json.loads(item.document) for item in items if b"4294967" in item.document)
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        assert ("job_released", 4294967, str(process.pid)) in told(source.read())
    finally:
        process.kill()
        process.wait()

    assert document["labels"]["gpu.index"] == "0"
