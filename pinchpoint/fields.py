"""The one table of every field: name, type, unit and meaning. Metrics have a table of their own, `metrics/`.

Arrow schemas (`records.py`), Elasticsearch templates, Kibana data views and the reference page are made from it. Names are
those of ECS and OpenTelemetry where these have one; ours alone are `run.* rank step phase.* cause.* incident.*`.
Nothing here is heavy to import: the shippers and the SDK's tests read it too.
"""

import dataclasses
from typing import Literal

Type = Literal["time", "text", "integer", "number", "numbers", "texts", "slow_steps", "document"]


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One column of a record."""

    name: str
    type: Type
    meaning: str
    unit: str | None = None


#: The exclusive parts of a step's wall time, in the order in which they are shown.
PHASES: dict[str, str] = {
    "data_wait": "waiting for the next batch",
    "h2d": "copying the batch from host to device",
    "forward": "forward pass",
    "backward": "backward pass",
    "optimizer": "optimizer update",
    "compute": "forward, backward and optimizer together, where the input cannot tell them apart",
    "communication": "exposed communication: collectives that nothing else hides",
    "checkpoint": "writing a checkpoint",
    "evaluation": "evaluating on held-out data",
    "compile": "compiling or recompiling",
    "gc": "garbage collection of the language runtime",
    "other": "everything else inside the step",
}

_FIELDS = (
    Field("@timestamp", "time", "UTC time of the record; of a step, a span or a window its start"),
    Field("event.id", "text", "identity of the record: writing it twice leaves one"),
    Field("run.id", "text", "one execution of a workload"),
    Field("run.workload", "text", "what runs of the same thing share"),
    Field("rank", "integer", "number of a worker process in its run, from 0"),
    Field("world_size", "integer", "number of ranks of the run"),
    Field("host.name", "text", "host the record comes from"),
    Field("gpu.uuid", "text", "device of the rank"),
    Field("process.pid", "integer", "process the record comes from"),
    Field("step", "integer", "number of the iteration of the rank"),
    Field("epoch", "integer", "pass over the data the step belongs to"),
    Field("duration_s", "number", "wall time", "s"),
    *(Field(f"phase.{name}_s", "number", f"wall time of the step in {name}: {meaning}", "s") for name, meaning in PHASES.items()),
    Field("overlap_s", "number", "communication hidden behind computation", "s"),
    Field("cpu_s", "number", "CPU time of the training thread in the step", "s"),
    Field("data_wait_cpu_s", "number", "CPU time of the training thread while it waited for data", "s"),
    Field("samples", "integer", "samples of the step on this rank"),
    Field("tokens", "integer", "tokens of the step on this rank"),
    Field("batch_bytes", "integer", "size of the batch", "bytes"),
    Field("entity.kind", "text",
          "kind of the thing measured: host, gpu, process, rank, disk, nic, rdma, filesystem, nfs, cgroup, trace, service …"),
    Field("entity.id", "text", "which one of its kind"),
    Field("metrics", "numbers", "readings by name, see the table of metrics"),
    Field("message", "text", "the line as it was written"),
    Field("log.level", "text", "level of the line, lower case"),
    Field("log.file.path", "text", "file the line was read from"),
    Field("log.offset", "integer", "where the line starts in its file", "bytes"),
    Field("trace.id", "text", "trace of the span"),
    Field("span.id", "text", "the span"),
    Field("parent.id", "text", "the span that called this one"),
    Field("name", "text", "what the span did"),
    Field("service.name", "text", "service of the span"),
    Field("status", "text", "ok, error or unset"),
    Field("attributes", "texts", "attributes of the span"),
    Field("event.action", "text", "what happened: deploy, config, push, restart, preempt, checkpoint, gpu_error, oom, scale, data_quality, "
          "job_assigned, job_released …"),
    Field("event.reason", "text", "why it happened, in the words of its source"),
    Field("window_s", "number", "length of the window", "s"),
    Field("features", "numbers", "features by name, see docs/architecture.md"),
    Field("slow_steps", "slow_steps", "the longest steps of the window: number, duration, longest phase beyond computation"),
    Field("incident.id", "text", "identity of an incident: of run, symptom and onset"),
    Field("symptom.name", "text", "what got worse: step_time, throughput, latency, errors"),
    Field("symptom.baseline", "number", "what the symptom would be"),
    Field("symptom.observed", "number", "what the symptom is"),
    Field("lost_seconds", "number", "observed minus baseline, wall time of the run", "s"),
    Field("lost_ratio", "number", "lost seconds over the wall time they were lost in", "ratio"),
    Field("compared_with", "text", "ideal, own past, other runs, other ranks"),
    Field("score", "number", "how far out of line, in robust deviations or as a ratio; see model.name"),
    Field("model.name", "text", "model that found it"),
    Field("model.version", "text", "version of pinchpoint that found it"),
    Field("cause.id", "text", "number of the cause in the catalogue"),
    Field("cause.name", "text", "cause in the catalogue"),
    Field("cause.category", "text", "data, infrastructure, model or process"),
    Field("cause.confidence", "number", "how sure the attribution is", "ratio"),
    Field("cause.position", "integer", "place of the cause in its incident, from 1"),
    Field("series", "text", "what an evidence series shows"),
    Field("value", "number", "value of the series"),
    Field("limit", "number", "limit the value is held against"),
    Field("unit", "text", "unit of the value"),
    Field("lost_gpu_hours", "number", "lost seconds times the ranks of the run: hours of GPUs where each rank has one", "h"),
    Field("cause.summary", "text", "the cause in a sentence"),
    Field("cause.why", "text", "the chain from the symptom to the cause, a line each"),
    Field("cause.fix", "text", "what to do about the cause, a line each"),
    Field("incident.summary", "text", "the leading cause in a sentence"),
    Field("incident.fix", "text", "what to do about the leading cause, a line each"),
    Field("incident.links.logs", "text", "where Kibana shows the log lines of its time: a path below /app"),
    Field("incident.links.events", "text", "where Kibana shows the changes and errors of its time: a path below /app"),
    Field("document", "document", "the incident as the verdict prints it"),
    Field("labels", "texts", "keys the schema does not know, kept as text"),
)

FIELDS: dict[str, Field] = {field.name: field for field in _FIELDS}

#: Features of runs, ranks and logs that dashboards show, by the entity kind they are of. The others are named as the metrics they are of.
FEATURES: dict[str, dict[str, str]] = {
    "run": {
        "steps": "steps that began in the window",
        "step_time_p50_s": "median step time along the critical path",
        "wall_s": "wall time of the steps",
        "skew_s": "what the critical ranks took beyond the median of the others",
        **{f"phase.{name}_s": f"wall time in {name}, on the critical path" for name in (*PHASES, "gap")},
    },
    "rank": {
        "own_p50_s": "median time of a step that is the rank's own, without collectives",
        "critical_steps": "steps in which the rank was the last to arrive",
    },
    "log": {
        "log.lines": "lines",
        "log.error_lines": "lines that speak of an error",
        "log.oom_lines": "lines that speak of want of memory",
        "log.recompile_lines": "lines that speak of recompilation",
        "log.retry_lines": "lines that speak of retries",
    },
}

_RUN = ("@timestamp", "event.id", "run.id", "run.workload")
_STEP = ("rank", "world_size", "host.name", "gpu.uuid", "process.pid", "step", "epoch", "duration_s",
         *(f"phase.{name}_s" for name in PHASES), "overlap_s", "cpu_s", "data_wait_cpu_s", "samples", "tokens", "batch_bytes")
_INCIDENT = ("incident.id", "symptom.name", "entity.kind", "entity.id", "host.name")

#: The columns of each kind of record; every kind also carries `labels`.
KINDS: dict[str, tuple[str, ...]] = {
    "step": (*_RUN, *_STEP, "labels"),
    "metric": (*_RUN, "entity.kind", "entity.id", "host.name", "rank", "process.pid", "metrics", "labels"),
    "log": (*_RUN, "message", "log.level", "log.file.path", "log.offset", "host.name", "rank", "process.pid", "labels"),
    "span": (*_RUN, "trace.id", "span.id", "parent.id", "name", "service.name", "duration_s", "status", "attributes", "host.name",
             "labels"),
    "event": (*_RUN, "event.action", "event.reason", "host.name", "rank", "step", "labels"),
    "feature": (*_RUN, "window_s", "entity.kind", "entity.id", "host.name", "rank", "features", "slow_steps", "labels"),
    "finding": (*_RUN, "window_s", "entity.kind", "entity.id", "host.name", "symptom.name", "symptom.observed", "symptom.baseline",
                "score", "lost_seconds", "compared_with", "model.name", "model.version", "labels"),
    "incident": (*_RUN, *_INCIDENT, "symptom.observed", "symptom.baseline", "lost_seconds", "lost_ratio", "compared_with",
                 "cause.id", "cause.name", "cause.category", "cause.confidence", "incident.summary", "incident.fix",
                 "incident.links.logs", "incident.links.events", "document", "labels"),
    "cause": (*_RUN, *_INCIDENT, "cause.position", "cause.id", "cause.name", "cause.category", "cause.confidence", "lost_seconds",
              "lost_ratio", "lost_gpu_hours", "cause.summary", "cause.why", "cause.fix", "labels"),
    "evidence": (*_RUN, *_INCIDENT, "cause.id", "cause.name", "series", "value", "symptom.baseline", "limit", "unit", "message",
                 "event.action", "labels"),
}

#: What shippers write. The other kinds are made by the analysis, which writes a record again whenever it makes it again.
SHIPPED = ("step", "metric", "log", "span", "event")
DERIVED = tuple(kind for kind in KINDS if kind not in SHIPPED)

#: The categories of causes, in the order in which they are shown.
CATEGORIES = ("data", "infrastructure", "model", "process")
