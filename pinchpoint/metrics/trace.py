"""Metrics of a recorded trace."""

from pinchpoint.metrics.metric import Metric

_RANKS = "the collectives in the traces of all ranks, in a viewer of traces"

TRACE = (
    Metric("trace.gpu_idle_ratio", "trace", "gauge", "ratio", "share of the kernel timeline without any kernel",
           "HolisticTraceAnalysis, get_temporal_breakdown"),
    Metric("trace.gpu_compute_ratio", "trace", "gauge", "ratio", "share of the kernel timeline with a computing kernel",
           "HolisticTraceAnalysis, get_temporal_breakdown"),
    Metric("trace.gpu_non_compute_ratio", "trace", "gauge", "ratio", "share with only copies or communication",
           "HolisticTraceAnalysis, get_temporal_breakdown"),
    Metric("trace.memcpy_exposed_ratio", "trace", "gauge", "ratio", "share in which only copies run", "TraceLens, gpu_timeline"),
    Metric("trace.kernels", "trace", "gauge", "kernels", "kernels in the trace", "HolisticTraceAnalysis"),
    Metric("trace.kernel_mean_s", "trace", "gauge", "s", "mean duration of a kernel", "HolisticTraceAnalysis"),
    Metric("trace.collective_wait_ratio", "trace", "gauge", "ratio",
           "share of its steps in which a rank waits in a collective for the last one", _RANKS),
    Metric("trace.collective_transfer_ratio", "trace", "gauge", "ratio", "share of its steps in collectives that all ranks have entered",
           _RANKS),
    Metric("trace.collective_bus_bytes_per_s", "trace", "gauge", "bytes/s",
           "what a link carried while large collectives ran, waiting included", "nccl-tests, busbw"),
    Metric("trace.last_ratio", "trace", "gauge", "ratio", "share of the collectives to which the rank came last", _RANKS),
    Metric("trace.late_ratio", "trace", "gauge", "ratio",
           "share of its steps by which the rank came after the middle of the others", _RANKS),
    Metric("trace.clock_offset_s", "trace", "gauge", "s", "how far the rank's clock goes ahead of the middle of all", _RANKS),
    Metric("trace.clock_spread_s", "trace", "gauge", "s", "standard error of that", _RANKS),
    Metric("trace.single_process_loader", "trace", "gauge", "flag", "1 when the DataLoader runs in the training process",
           "grep _SingleProcessDataLoaderIter TRACE"),
    Metric("trace.loader_of_idle_ratio", "trace", "gauge", "ratio", "share of the time without a kernel that the DataLoader covers",
           "TensorBoard profiler plugin, step time breakdown"),
)
