"""What the metrics of known exporters are called here, and in which unit they come."""

from shippers.sources.scrape_gpu_names import AMD, DCGM, INTEL
from shippers.sources.scrape_name import Name, table

_NODE = table("host", prefix="node_", rows=(
    ("load1", "system.load.1m", 1.0),
    ("memory_MemTotal_bytes", "system.memory.total_bytes", 1.0),
    ("memory_MemAvailable_bytes", "system.memory.available_bytes", 1.0),
    ("vmstat_pgmajfault", "system.paging.major_faults", 1.0),
    ("pressure_cpu_waiting_seconds_total", "system.pressure.cpu.some_s", 1.0),
    ("pressure_io_waiting_seconds_total", "system.pressure.io.some_s", 1.0),
    ("pressure_io_stalled_seconds_total", "system.pressure.io.full_s", 1.0),
    ("pressure_memory_waiting_seconds_total", "system.pressure.memory.some_s", 1.0),
    ("pressure_memory_stalled_seconds_total", "system.pressure.memory.full_s", 1.0),
    ("netstat_Tcp_RetransSegs", "system.tcp.retransmits", 1.0),
    ("netstat_Tcp_OutSegs", "system.tcp.segments_sent", 1.0),
    ("netstat_TcpExt_TCPTimeouts", "system.tcp.timeouts", 1.0),
)) | table("disk", prefix="node_disk_", rows=(
    ("reads_completed_total", "disk.reads", 1.0),
    ("read_bytes_total", "disk.read_bytes", 1.0),
    ("read_time_seconds_total", "disk.read_s", 1.0),
    ("writes_completed_total", "disk.writes", 1.0),
    ("written_bytes_total", "disk.write_bytes", 1.0),
    ("write_time_seconds_total", "disk.write_s", 1.0),
    ("io_time_seconds_total", "disk.busy_s", 1.0),
)) | table("nic", prefix="node_network_", rows=(
    ("receive_bytes_total", "nic.receive_bytes", 1.0),
    ("receive_packets_total", "nic.receive_packets", 1.0),
    ("receive_drop_total", "nic.receive_drops", 1.0),
    ("receive_errs_total", "nic.receive_errors", 1.0),
    ("transmit_bytes_total", "nic.transmit_bytes", 1.0),
    ("transmit_packets_total", "nic.transmit_packets", 1.0),
    ("transmit_drop_total", "nic.transmit_drops", 1.0),
    ("transmit_errs_total", "nic.transmit_errors", 1.0),
)) | table("filesystem", prefix="node_filesystem_", rows=(
    ("size_bytes", "filesystem.total_bytes", 1.0),
    ("avail_bytes", "filesystem.available_bytes", 1.0),
    ("files", "filesystem.inodes", 1.0),
    ("files_free", "filesystem.free_inodes", 1.0),
)) | {
    "node_cpu_seconds_total": (
        Name("system.cpu.busy_s", "host", adds_up=("cpu", "mode"), only=("mode", ("user", "nice", "system", "irq", "softirq", "steal"))),
        Name("system.cpu.iowait_s", "host", adds_up=("cpu", "mode"), only=("mode", ("iowait",))),
        Name("system.cpu.steal_s", "host", adds_up=("cpu", "mode"), only=("mode", ("steal",)))),
    "node_memory_SwapTotal_bytes": (Name("system.swap.used_bytes", "host", adds_up=()),),
    "node_memory_SwapFree_bytes": (Name("system.swap.used_bytes", "host", -1.0, adds_up=()),),
    "node_vmstat_pswpin": (Name("system.paging.swap_pages", "host", adds_up=()),),
    "node_vmstat_pswpout": (Name("system.paging.swap_pages", "host", adds_up=()),),
}

_VLLM = table("service", prefix="vllm:", rows=(
    ("num_requests_running", "serving.requests_running", 1.0),
    ("num_requests_waiting", "serving.requests_waiting", 1.0),
    ("num_requests_swapped", "serving.requests_swapped", 1.0),
    # the older name says percent and GPU, and is a share of 1 too
    ("gpu_cache_usage_perc", "serving.kv_cache_ratio", 1.0),
    ("kv_cache_usage_perc", "serving.kv_cache_ratio", 1.0),
    ("num_preemptions_total", "serving.preemptions", 1.0),
    ("prompt_tokens_total", "serving.prompt_tokens", 1.0),
    ("generation_tokens_total", "serving.generated_tokens", 1.0),
    ("prefix_cache_queries_total", "serving.prefix_cache_queries", 1.0),
    ("prefix_cache_hits_total", "serving.prefix_cache_hits", 1.0),
    ("time_to_first_token_seconds_sum", "serving.first_token_s", 1.0),
    ("time_to_first_token_seconds_count", "serving.first_tokens", 1.0),
    ("inter_token_latency_seconds_sum", "serving.inter_token_s", 1.0),
    ("inter_token_latency_seconds_count", "serving.inter_tokens", 1.0),
    ("e2e_request_latency_seconds_sum", "serving.request_s", 1.0),
    ("e2e_request_latency_seconds_count", "serving.requests", 1.0),
    ("request_queue_time_seconds_sum", "serving.queue_s", 1.0),
    ("request_prefill_time_seconds_sum", "serving.prefill_s", 1.0),
    ("request_decode_time_seconds_sum", "serving.decode_s", 1.0),
)) | {
    # counted by why a request ended
    "vllm:request_success_total": (Name("serving.requests_done", "service", adds_up=("finished_reason",)),),
    # the name before inter_token_latency
    "vllm:time_per_output_token_seconds_sum": (Name("serving.inter_token_s", "service"),),
    "vllm:time_per_output_token_seconds_count": (Name("serving.inter_tokens", "service"),),
}

#: Exposed name to what it becomes.
NAMES: dict[str, tuple[Name, ...]] = DCGM | AMD | INTEL | _NODE | _VLLM
