"""Facts that only a profiler trace tells."""

from models.facts.registry import Scope, fact

TRACE = "a profiler trace"


def _of_trace(name: str, meaning: str, unit: str) -> None:
    def measure(scope: Scope) -> float | None:
        values = [trace.mean(name, scope.inside) for trace in scope.entities("trace")]
        return max((value for value in values if value is not None), default=None)

    measure.__doc__ = meaning
    fact(name, unit, TRACE)(measure)


_of_trace("trace.gpu_idle_ratio", "Share of the kernel timeline without any kernel", "ratio")
_of_trace("trace.kernel_mean_s", "Mean duration of a kernel", "s")
_of_trace("trace.single_process_loader", "Whether the DataLoader runs in the training process", "flag")
_of_trace("trace.loader_of_idle_ratio", "Share of the time without a kernel that the DataLoader covers", "ratio")

