"""Tell from the environment and the control group of a process which job, rank, container and GPUs it belongs to."""

import re
from collections.abc import Mapping

#: The only variables that are looked at: environments hold secrets.
VARIABLES = frozenset((
    "PINCHPOINT_RUN_ID", "TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_LOCALID",
    "SLURM_NTASKS", "SLURM_JOB_NAME", "SLURM_JOB_PARTITION", "SLURM_CLUSTER_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID",
    "SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "KUBERNETES_SERVICE_HOST", "POD_NAME", "POD_NAMESPACE", "HOSTNAME"))
_RANKS = (("RANK", "LOCAL_RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
          ("PMIX_RANK", "", ""), ("PMI_RANK", "", "PMI_SIZE"), ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"))
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_SLURM = re.compile(r"/job_(\d+)(?:/step_(\w+))?")
_POD = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")
_CONTAINER = re.compile(r"(?:^|[/-])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_MOST_TEXT = 200

Place = dict[str, str]
"""What is known of a process: `run.id`, `rank` and labels, all as texts."""


def variables(environ: bytes) -> dict[str, str]:
    r"""The variables that are looked at, of the content of /proc/PID/environ.

    >>> variables(b"RANK=3\0AWS_SECRET_ACCESS_KEY=x\0LOCAL_RANK=\0")
    {'RANK': '3'}
    """
    found = {}
    for entry in environ.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if value and (key := name.decode(errors="replace")) in VARIABLES:
            found[key] = value.decode(errors="replace")[:_MOST_TEXT]
    return found


def place_of(environment: Mapping[str, str], cgroup: str) -> Place:
    """What environment and control group tell; empty for a process of no job and of no container.

    >>> place_of({"RANK": "1"}, "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_1")
    {'job.scheduler': 'slurm', 'job.id': '7', 'job.step': '0', 'run.id': 'slurm-7', 'rank': '1', 'rank.source': 'RANK'}
    """
    place = _job(environment, cgroup) | _container(environment, cgroup)
    run = environment.get("PINCHPOINT_RUN_ID") or environment.get("TORCHELASTIC_RUN_ID", "none")
    if run != "none":
        place["run.id"] = run
    elif "job.id" in place:
        place["run.id"] = f"slurm-{place['job.id']}"
    place |= _rank(environment)
    if not place:
        return place
    return place | _gpus(environment, place.get("local_rank", ""))


def _job(environment: Mapping[str, str], cgroup: str) -> Place:
    # the control group cannot be changed by the job, its environment can
    found = _SLURM.search(cgroup)
    job = found.group(1) if found else environment.get("SLURM_JOB_ID", "")
    if not job:
        return {}
    names = {"SLURM_JOB_NAME": "job.name", "SLURM_JOB_PARTITION": "job.partition", "SLURM_CLUSTER_NAME": "job.cluster",
             "SLURM_ARRAY_JOB_ID": "job.array_id", "SLURM_ARRAY_TASK_ID": "job.array_task"}
    step = (found.group(2) if found else None) or environment.get("SLURM_STEP_ID", "")
    place = {"job.scheduler": "slurm", "job.id": job} | ({"job.step": step} if step else {})
    return place | {label: environment[name] for name, label in names.items() if name in environment}


def _container(environment: Mapping[str, str], cgroup: str) -> Place:
    place: Place = {}
    pod, container = _POD.search(cgroup), _CONTAINER.findall(cgroup)
    if container:
        place["container.id"] = container[-1]  # the innermost
    if pod:
        place["pod.uid"] = pod.group(1).replace("_", "-")
    if pod or "KUBERNETES_SERVICE_HOST" in environment:
        # without the downward API the host name of a pod is its name, unless it uses the network of its node
        name = environment.get("POD_NAME") or environment.get("HOSTNAME", "")
        place |= {label: value for label, value in (("pod.name", name), ("pod.namespace", environment.get("POD_NAMESPACE", ""))) if value}
        place.setdefault("job.scheduler", "kubernetes")
    return place


def _rank(environment: Mapping[str, str]) -> Place:
    for rank, local, size in _RANKS:
        if _is_number(environment.get(rank, "")):
            given = (("rank", rank), ("local_rank", local), ("world_size", size))
            place = {label: environment[name] for label, name in given if _is_number(environment.get(name, ""))}
            return place | {"rank.source": rank}
    return {}


def _gpus(environment: Mapping[str, str], local_rank: str) -> Place:
    """The GPUs a process may use, and the one it uses by the convention that local rank N takes the N-th."""
    visible = next((_list(environment[name]) for name in _VISIBLE if name in environment), [])
    # where SLURM shows a job its own devices only, they are numbered from 0 there, and it tells their numbers on the host
    on_host = _list(environment.get("SLURM_STEP_GPUS", "") or environment.get("SLURM_JOB_GPUS", ""))
    if on_host and all(_is_number(gpu) and int(gpu) < len(on_host) for gpu in visible):
        visible = [on_host[int(gpu)] for gpu in visible] if visible else on_host
    if not visible:
        return {}
    used = visible[0] if len(visible) == 1 else visible[int(local_rank)] if local_rank and int(local_rank) < len(visible) else ""
    return {"gpus": ",".join(visible)} | ({("gpu.uuid" if used.startswith(("GPU-", "MIG-")) else "gpu.index"): used} if used else {})


def _list(text: str) -> list[str]:
    """Devices of a list; none for words such as all, void or NoDevFiles."""
    given = [part.strip() for part in text.split(",")]
    return given if all(_is_number(gpu) or gpu.startswith(("GPU-", "MIG-")) for gpu in given) else []


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10
