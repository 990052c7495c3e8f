"""Metrics of a recorded trace."""

from pinchpoint.metrics.metric import Metric

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
    Metric("trace.single_process_loader", "trace", "gauge", "flag", "1 when the DataLoader runs in the training process",
           "grep _SingleProcessDataLoaderIter TRACE"),
    Metric("trace.loader_of_idle_ratio", "trace", "gauge", "ratio", "share of the time without a kernel that the DataLoader covers",
           "TensorBoard profiler plugin, step time breakdown"),
)
