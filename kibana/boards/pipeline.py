"""What is a step made of, and which rank is slow?"""

from kibana.boards import ids
from kibana.dashboards import row
from kibana.model import Board, Chart, Control, Heat, Is, Layer, Metric, Number, Table, Terms
from kibana.views import VIEWS
from pinchpoint.fields import PHASES

_STEPS, _FEATURES, _METRICS = VIEWS["step"], VIEWS["feature"], VIEWS["metric"]
_RUN, _RANK, _LOG, _SERVICE = (Is("entity.kind", kind) for kind in ("run", "rank", "log", "service"))
_BY_RUN = Terms("run.id", "Run", 5)
#: Phases that stop all ranks now and then.
_PAUSES = ("checkpoint", "evaluation", "compile", "gc")

BOARD = Board(
    ids.PIPELINE, "[pinchpoint] Pipeline health", "Pipelines", "What is a step made of, and which rank is slow?",
    (Control("workload", "Workload", _STEPS, "run.workload"), Control("run", "Run", _STEPS, "run.id")),
    (
        row(5,
            (Number("p50", "Step, median", _STEPS, Metric("median", "duration_s", "Step, median", "s")), 8),
            (Number("p95", "Step, 95th percentile", _STEPS, Metric("percentile", "duration_s", "Step, 95th percentile", "s")), 8),
            (Number("wait", "Longest wait for data", _STEPS, Metric("max", "phase.data_wait_s", "Longest wait for data", "s"),
                    subtitle="Of one step of one rank"), 8),
            (Number("skew", "Lost to slow ranks", _FEATURES, Metric("sum", "features.skew_s", "Lost to slow ranks", "span"), (_RUN,),
                    "The last rank beyond the median"), 8),
            (Number("ranks", "Ranks", _STEPS, Metric("unique_count", "rank", "Ranks", "count")), 8),
            (Number("lines", "Error lines", _FEATURES, Metric("sum", "features.log.error_lines", "Error lines", "count"), (_LOG,),
                    alarm=(1, 100)), 8)),
        row(11, (Chart("step-time", "Step time, median and 95th percentile by run", (
            Layer(_STEPS, (Metric("median", "duration_s", "Median", "s"), Metric("percentile", "duration_s", "95th percentile", "s")),
                  _BY_RUN),), marks=True, discover=True), 48)),
        row(12,
            (Chart("phases", "What a step is made of: share of wall time, on the critical path", (
                Layer(_FEATURES, tuple(Metric("sum", f"features.phase.{name}_s", name.replace("_", " "), "span")
                                       for name in (*PHASES, "gap")), where=(_RUN,)),), "area_percentage_stacked"), 24),
            (Chart("data-wait", "Waiting for data: median and most over ranks", (
                Layer(_STEPS, (Metric("max", "phase.data_wait_s", "Most", "s"), Metric("median", "phase.data_wait_s", "Median", "s"))),)),
             24)),
        row(13, (Heat("rank-time", "Own time of a step, each rank over time: one rank, all, or taking turns?", _FEATURES,
                      Terms("rank", "Rank", 64, by=None), Metric("average", "features.own_p50_s", "Own time", "s"), (_RANK,)), 48)),
        row(10,
            (Chart("throughput", "Samples a second", (
                Layer(_STEPS, (Metric("sum", "samples", "Samples", "per_s", per_s=True),), _BY_RUN),)), 16),
            (Chart("tokens", "Tokens a second", (
                Layer(_STEPS, (Metric("sum", "tokens", "Tokens", "per_s", per_s=True),), _BY_RUN),)), 16),
            (Chart("queue", "Serving: requests that wait and that run", (
                Layer(_METRICS, (Metric("max", "metrics.serving.requests_waiting", "Waiting", "count"),
                                 Metric("max", "metrics.serving.requests_running", "Running", "count")), where=(_SERVICE,)),)), 16)),
        row(10,
            (Chart("pauses", "Pauses: wall time in checkpoint, evaluation, compilation and garbage collection", (
                Layer(_FEATURES, tuple(Metric("sum", f"features.phase.{name}_s", name, "span") for name in _PAUSES), where=(_RUN,)),),
                "bar_stacked"), 24),
            (Chart("log-lines", "Log lines that speak of errors", (
                Layer(_FEATURES, (Metric("sum", "features.log.error_lines", "Errors", "count"),
                                  Metric("sum", "features.log.oom_lines", "Out of memory", "count"),
                                  Metric("sum", "features.log.retry_lines", "Retries", "count"),
                                  Metric("sum", "features.log.recompile_lines", "Recompilation", "count")), where=(_LOG,)),),
                "bar_stacked"), 24)),
        row(12, (Table(
            "stragglers", "Stragglers: who arrives last at the collectives", _FEATURES,
            (Terms("run.id", "Run", 20), Terms("rank", "Rank", 64)),
            (Metric("sum", "features.skew_s", "Lost to it", "span", alarm=(10, 60)),
             Metric("sum", "features.critical_steps", "Steps as the last", "count"), Metric("sum", "features.steps", "Steps", "count"),
             Metric("median", "features.own_p50_s", "Own time of a step", "s"), Metric("last_value", "host.name", "Host"),
             Metric("last_value", "run.workload", "Workload")), where=(_RANK,), discover=True), 48)),
    ), since="now-24h")
