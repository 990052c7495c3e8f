"""Ask the kubelet which container of which pod has which GPU.

The service is `v1.PodResourcesLister` of Kubernetes (GA since 1.28), on a socket that only root may open.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from shippers.sources.job_places import Place

SOCKET = "var/lib/kubelet/pod-resources/kubelet.sock"
_METHOD = "/v1.PodResourcesLister/List"
_TIMEOUT_S = 2.0
_MOST_ANSWER_BYTES = 16 << 20
#: Resources that are GPUs, or parts of one: `nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`, `amd.com/gpu`, `gpu.intel.com/i915` …
_GPU_RESOURCES = ("nvidia.com/", "amd.com/gpu", "gpu.intel.com/")

#: Message, its fields: name, number, type (a message's name or None for text), whether it is repeated.
_MESSAGES: dict[str, tuple[tuple[str, int, str | None, bool], ...]] = {
    "ContainerDevices": (("resource_name", 1, None, False), ("device_ids", 2, None, True)),
    "ContainerResources": (("name", 1, None, False), ("devices", 2, "ContainerDevices", True)),
    "PodResources": (("name", 1, None, False), ("namespace", 2, None, False), ("containers", 3, "ContainerResources", True)),
    "ListPodResourcesResponse": (("pod_resources", 1, "PodResources", True),),
}


class PodResources:
    """The GPUs of each container, asked again and again over one connection."""

    def __init__(self, root: Path) -> None:
        self._socket = root / SOCKET
        self._ask: Callable[[], bytes] | None = None
        self._last: dict[str, Place] = {}
        self.problem: str | None = None
        """Why nothing can be told though there is a kubelet; None otherwise."""

    @property
    def is_here(self) -> bool:
        """Whether a kubelet runs on this host."""
        return self._socket.exists()

    def read(self) -> dict[str, Place]:
        """The place of each GPU that a container has, by `pod/DEVICE/NAMESPACE/POD/CONTAINER`.

        While the kubelet does not answer, as when it starts again, what it told last holds: its pods go on.
        """
        if self._ask is None and not self.is_here:
            return {}
        try:
            import grpc
        except ImportError:
            self.problem = "the kubelet tells over gRPC which pod has which GPU: pip install 'pinchpoint[kubernetes]'"
            return {}
        try:
            if self._ask is None:
                channel = grpc.insecure_channel(f"unix:{self._socket}", [("grpc.max_receive_message_length", _MOST_ANSWER_BYTES)])
                call = channel.unary_unary(_METHOD)
                self._ask = lambda: call(b"", timeout=_TIMEOUT_S)
            self._last = places(self._ask())
            self.problem = None
        except grpc.RpcError as error:
            self.problem = f"the kubelet does not tell which pod has which GPU: {error.code().name}"
        except ValueError as error:
            self.problem = f"the kubelet's answer cannot be read: {error}"
        return self._last


def places(answer: bytes) -> dict[str, Place]:
    """The GPUs of an answer of the kubelet. Raises: ValueError when it is none."""
    found: dict[str, Place] = {}
    from google.protobuf.message import DecodeError

    try:
        response = _response().FromString(answer)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    for pod in response.pod_resources:
        for container in pod.containers:
            for devices in container.devices:
                if not devices.resource_name.startswith(_GPU_RESOURCES):
                    continue
                for device in devices.device_ids:
                    gpu = device.partition("::")[0]  # a GPU shared by time slices is told as UUID::NUMBER
                    place = {"job.scheduler": "kubernetes", "pod.name": pod.name, "pod.namespace": pod.namespace,
                             "container.name": container.name, "source": "kubelet"}
                    place["gpu.uuid" if gpu.startswith(("GPU-", "MIG-")) else "gpu.device"] = gpu
                    found[f"pod/{device}/{pod.namespace}/{pod.name}/{container.name}"] = place
    return found


def _response() -> Any:
    """The class of the kubelet's answer, made from the table above instead of generated code."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="podresources.proto", package="v1", syntax="proto3")
    for name, members in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for member, number, of, repeated in members:
            message.field.add(name=member, number=number, label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                              type=kinds.TYPE_MESSAGE if of else kinds.TYPE_STRING, type_name=f".v1.{of}" if of else None)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("v1.ListPodResourcesResponse"))
