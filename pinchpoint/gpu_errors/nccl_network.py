"""Judge the lines in which NCCL tells of its network together: sockets are wrong only where there is something better."""

from pinchpoint.gpu_errors.findings import Finding

#: Kinds of lines that say nothing by themselves.
_NOTES = ("nccl_socket", "nccl_ib_found", "nccl_ib_unused", "nccl_nodes")


class NcclNetwork:
    """What one log has told of it so far."""

    def __init__(self) -> None:
        self._seen: dict[str, Finding] = {}
        self._told = False

    def judge(self, finding: Finding) -> Finding | None:
        """The error that a line makes of those before it; None for one that makes none. Everything else passes unchanged.

        A job on one node prints that it takes sockets too, and hardly uses them: so that NCCL was told to leave InfiniBand alone
        counts only among several nodes.
        """
        if finding.kind not in _NOTES:
            return finding
        self._seen.setdefault(finding.kind, finding)
        better = self._seen.get("nccl_ib_found") or (self._seen.get("nccl_ib_unused") if "nccl_nodes" in self._seen else None)
        if self._told or better is None or "nccl_socket" not in self._seen:
            return None
        self._told = True
        return Finding("job_error", "nccl_socket", "program", "warning", f"NCCL sends over plain sockets; and {better.reason}",
                       device=better.device)
