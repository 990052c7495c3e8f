"""Facts of errors: how many of each kind were reported."""

from collections.abc import Callable

from models.errors import Error, errors_of, is_lost, is_of_memory
from models.facts.registry import Scope, fact
from pinchpoint.gpu_errors.findings import Finding

JOB_NEEDS = "the output of the job (lines of PyTorch, NCCL, torchrun)"
NEEDS = "kernel messages (dmesg, journalctl -k, pinchpoint ship) or a list of faults"

Belongs = Callable[[Finding], bool]
#: What counts for each fact. Warnings mend themselves: they count only where a fact is about them.
FAMILIES: dict[str, Belongs] = {}
_STORAGE_KINDS = ("disk_error", "filesystem_error")
_NETWORK_KINDS = ("nic_error", "nic_timeout")


def errors_in(scope: Scope) -> list[Error]:
    """The errors of a scope."""
    begin, end = _limits(scope)
    return [error for error in errors_of(scope.view.events) if begin <= error.event.time_ns <= end]


def _limits(scope: Scope) -> tuple[int, int]:
    starts = scope.view.starts[scope.inside]
    if not len(starts):
        return 0, -1
    return int(starts[0]), int(starts[-1]) + round(scope.view.window_s * 1e9)


def counted(name: str, scope: Scope) -> list[Error]:
    """The errors that a fact counts."""
    return [error for error in errors_in(scope) if error.finding is not None and FAMILIES[name](error.finding)]


def counts_as(name: str, family: str) -> None:
    """A fact of another module counts errors too: where there are only errors, these."""
    FAMILIES[name] = FAMILIES[family]


def _errors(name: str, meaning: str, belongs: Belongs, *, warnings: bool = False, of_job: bool = False) -> None:
    FAMILIES[name] = lambda finding: belongs(finding) and (finding.severity == "warning") == warnings

    def measure(scope: Scope) -> float | None:
        # whether the output of the job was among the inputs at all is known by what it told alone
        return float(len(counted(name, scope))) or (None if of_job else 0.0)

    measure.__doc__ = meaning
    fact(name, "errors", JOB_NEEDS if of_job else NEEDS)(measure)


def _blamed(action: str, *blames: str) -> Belongs:
    return lambda finding: finding.action == action and finding.blame in blames


def _kind(*kinds: str) -> Belongs:
    return lambda finding: finding.kind in kinds


_errors("gpu.errors.hardware", "Errors of the hardware of GPUs and switches", _blamed("gpu_error", "hardware"))
_errors("gpu.errors.ecc", "Memory errors of GPUs that could not be corrected", is_of_memory)
_errors("gpu.errors.lost", "Reports that the driver lost a GPU, or that it does not answer", is_lost)
_errors("gpu.errors.driver", "Errors of the driver of GPUs", _blamed("gpu_error", "driver"))
_errors("gpu.errors.program", "Errors that a program on a GPU made", _blamed("gpu_error", "program"))
_errors("gpu.errors.unclear", "Errors of GPUs that nobody is blamed for", _blamed("gpu_error", "unknown"))
_errors("errors.power_or_cooling", "Errors of power or cooling", lambda finding: finding.blame == "power_or_cooling")
_errors("errors.oom_kills", "Processes killed for want of memory", lambda finding: finding.action == "oom" and finding.kind != "cuda_oom")
_errors("errors.kernel", "Errors inside the kernel, or a node that is down",
        lambda finding: finding.action == "kernel_panic" and finding.blame != "limits")
_errors("errors.limits", "Limits of the host that were reached", lambda finding: finding.blame == "limits" and finding.action != "oom")
_errors("errors.storage", "Errors of disks and file systems",
        lambda finding: finding.kind in _STORAGE_KINDS or (finding.action == "storage_stall" and finding.kind != "hung_task"
                                                           and finding.blame != "limits"))
_errors("errors.hung_tasks", "Tasks that waited in the kernel for minutes", _kind("hung_task"))
_errors("errors.network", "Errors of network adapters and links",
        lambda finding: finding.action == "link_down" or finding.kind in _NETWORK_KINDS)
_errors("errors.link_downs", "Times a network link went down", _kind("link_down"), warnings=True)
_errors("errors.pcie", "Errors of PCIe links that were not corrected", lambda finding: finding.action == "pcie_error")
_errors("errors.pcie_corrected", "Minutes with corrected errors of a PCIe link", _kind("pcie_corrected"), warnings=True)
_errors("errors.machine", "Errors of processors, memory, boards and services of the node",
        lambda finding: finding.action == "hardware_error" and finding.blame != "power_or_cooling"
        and finding.kind not in (*_STORAGE_KINDS, *_NETWORK_KINDS))
_errors("errors.cpu_hot", "Minutes in which a processor was too hot", _kind("cpu_thermal"), warnings=True)
_errors("errors.gpu_ooms", "Times PyTorch found no memory on a GPU and gave up", _kind("cuda_oom"), of_job=True)
_errors("errors.allocator_retries", "Minutes in which PyTorch's allocator gave its cache back to find memory", _kind("allocator_retry"),
        warnings=True, of_job=True)
_errors("errors.recompile_limits", "Minutes in which PyTorch gave up compiling a function again",
        _kind("recompile_limit", "cudagraph_sizes"), warnings=True, of_job=True)
_errors("errors.loader_workers", "Deaths of loader workers by a fault of the program", _kind("worker_died"), of_job=True)
_errors("errors.collective_timeouts", "Collectives that did not end before their time limit", _kind("collective_timeout"), of_job=True)
_errors("errors.nan_losses", "Minutes in which the loss was not a number", _kind("loss_nan"), of_job=True)
_errors("errors.slow_networks", "Times NCCL took plain sockets in place of InfiniBand or RoCE", _kind("nccl_socket"),
        warnings=True, of_job=True)
_errors("errors.skipped_steps", "Minutes in which steps were skipped for want of finite gradients", _kind("step_skipped"), warnings=True,
        of_job=True)
_errors("errors.too_many_workers", "Warnings that the loader has more workers than processors", _kind("too_many_workers"), warnings=True,
        of_job=True)
_errors("errors.planned", "Nodes that somebody took out of service", lambda finding: finding.action == "maintenance")
