"""Can the other boards be trusted: does everything arrive?"""

from kibana.boards import ids
from kibana.dashboards import row
from kibana.model import Board, Chart, Control, Is, Layer, Metric, Number, Table, Terms
from kibana.views import VIEWS

_METRICS, _FEATURES, _WATERMARKS = VIEWS["metric"], VIEWS["feature"], VIEWS["pinchpoint-watermark"]
_AGENT = Is("entity.kind", "agent")
_BY_HOST, _BY_OUTPUT = Terms("host.name", "Host", 10), Terms("entity.id", "Output", 10)

BOARD = Board(
    ids.COLLECTOR, "[pinchpoint] Collector health", "Collectors", "Can the other boards be trusted: does everything arrive?",
    (Control("host", "Host", _METRICS, "host.name"),),
    (
        row(5,
            (Number("hosts", "Hosts shipping", _METRICS, Metric("unique_count", "host.name", "Hosts shipping", "count"), (_AGENT,)), 8),
            (Number("waiting", "Waiting in a spool", _METRICS,
                    Metric("max", "metrics.agent.spool.waiting_bytes", "Waiting in a spool", "bytes"), (_AGENT,), "Most of one agent"), 8),
            (Number("down", "Outputs down", _METRICS, Metric("unique_count", "entity.id", "Outputs down", "count"),
                    (_AGENT, Is("metrics.agent.output.up", "0")), "At some time", (1, 2)), 8),
            (Number("rejected", "Rejected", _METRICS, Metric("max", "metrics.agent.output.rejected", "Rejected", "count"), (_AGENT,),
                    "Records in the dead-letter file, most of one output", (1, 1000)), 8),
            (Number("dropped", "Dropped", _METRICS, Metric("max", "metrics.agent.dropped_items", "Dropped", "count"), (_AGENT,),
                    "Records lost from a full spool, most of one output", (1, 1000)), 8),
            (Number("latest", "Latest record", _METRICS, Metric("max", "@timestamp", "Latest record"), (_AGENT,)), 8)),
        row(11, (Chart("streams", "Records that arrived, by kind", tuple(
            Layer(VIEWS[kind], (Metric("count", None, label, "count"),))
            for kind, label in (("step", "Steps"), ("metric", "Readings"), ("log", "Log lines"), ("event", "Events"))),
            "bar_stacked"), 48)),
        row(10,
            (Chart("spool", "Waiting in the spool, by host", (
                Layer(_METRICS, (Metric("max", "metrics.agent.spool.waiting_bytes", "Waiting", "bytes"),), _BY_HOST, (_AGENT,)),)), 16),
            (Chart("lag", "How far outputs are behind", (
                Layer(_METRICS, (Metric("max", "metrics.agent.lag_s", "Behind", "s"),), _BY_OUTPUT, (_AGENT,)),)), 16),
            (Chart("stored", "Stored a second, by output", (
                Layer(_FEATURES, (Metric("average", "features.agent.output.stored", "Stored", "per_s"),),
                      _BY_OUTPUT, (_AGENT,)),)), 16)),
        row(10,
            (Chart("losses", "Records rejected, repeated and dropped a second", (
                Layer(_FEATURES, (Metric("sum", "features.agent.output.rejected", "Rejected", "per_s"),
                                  Metric("sum", "features.agent.dropped_items", "Dropped", "per_s"),
                                  Metric("sum", "features.agent.output.repeated", "Repeated", "per_s")), where=(_AGENT,)),),
                "bar_stacked"), 24),
            (Chart("cost", "What the agents take: processors", (
                Layer(_FEATURES, (Metric("average", "features.agent.cpu_s", "Processors"),), _BY_HOST, (_AGENT,)),)), 24)),
        row(12,
            (Table("hosts-table", "Hosts", _METRICS, (Terms("host.name", "Host", 500, click=True),),
                   (Metric("max", "@timestamp", "Last reading"), Metric("max", "metrics.agent.uptime_s", "Uptime", "span"),
                    Metric("max", "metrics.agent.lag_s", "Farthest behind", "span", alarm=(60, 600)),
                    Metric("max", "metrics.agent.spool.waiting_bytes", "Most in the spool", "bytes", alarm=(1e8, 1e9)),
                    Metric("max", "metrics.agent.output.rejected", "Rejected", "count", alarm=(1, 1000)),
                    Metric("max", "metrics.agent.dropped_items", "Dropped", "count", alarm=(1, 1000)),
                    Metric("min", "metrics.agent.output.up", "Outputs up"),
                    Metric("max", "metrics.agent.memory.rss_bytes", "Memory", "bytes")), where=(_AGENT,), discover=True), 32),
            (Table("watermarks", "Analysed up to", _WATERMARKS, (Terms("job", "Job", 20),),
                   (Metric("max", "@timestamp", "Up to"),), unfiltered=True), 16)),
    ), since="now-24h")
