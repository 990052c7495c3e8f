"""Tell from the labels of a reading which thing was measured."""

from collections.abc import Mapping

#: Labels that name a GPU, in the order in which they are believed; indexes are unique on their host only.
_GPU_UUID = ("gpu.uuid", "UUID", "uuid", "gpu_uuid", "hw.id")
_GPU_INDEX = ("gpu", "device", "index", "gpu_id")
_MIG_INSTANCE = ("GPU_I_ID", "mig_instance")


def entity_of(labels: Mapping[str, str], instance: str, kind: str | None = None) -> tuple[str, str, dict[str, str]]:
    """Kind, id and the labels that are left.

    Args:
        labels: of one reading.
        instance: what the reading came from, for things that are unique there only.
        kind: gpu, disk, nic, filesystem or service where the name of the metric tells it.

    >>> entity_of({"UUID": "GPU-1", "gpu": "0", "GPU_I_ID": "3", "pod": "train-0"}, "h", "gpu")
    ('gpu', 'GPU-1/3', {'gpu': '0', 'pod': 'train-0'})
    >>> entity_of({"device": "nvme0n1"}, "h", "disk")
    ('disk', 'h/nvme0n1', {})
    >>> entity_of({"model_name": "llama", "engine": "0"}, "h:8000")
    ('service', 'h:8000/llama/0', {})
    >>> entity_of({"le": "0.5"}, "h:8000")
    ('service', 'h:8000', {'le': '0.5'})
    """
    left = dict(labels)
    match kind or _guess(labels):
        case "gpu":
            uuid = next((left.pop(name) for name in _GPU_UUID if left.get(name)), None)
            index = next((left[name] for name in _GPU_INDEX if left.get(name)), "")
            identity = uuid or f"{instance}/{index}".rstrip("/")
            part = next((left.pop(name) for name in _MIG_INSTANCE if left.get(name)), None)
            return "gpu", f"{identity}/{part}" if part else identity, left
        case "disk" | "nic" as named if left.get("device"):
            return named, f"{instance}/{left.pop('device')}", left
        case "filesystem" if left.get("mountpoint"):
            return "filesystem", f"{instance}{left.pop('mountpoint')}", left
        case "host":
            return "host", instance, left
        case _:
            parts = [left.pop(name) for name in ("model_name", "engine") if left.get(name) and "model_name" in labels]
            return "service", "/".join([instance, *parts]), left


def _guess(labels: Mapping[str, str]) -> str:
    uuid = any(labels.get(name, "").startswith(("GPU-", "MIG-")) for name in _GPU_UUID)
    return "gpu" if uuid or labels.get("hw.type") == "gpu" else "service"
