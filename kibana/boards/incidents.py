"""Which runs slowed down, why, and what did it cost?"""

from kibana import fishbone
from kibana.boards import ids
from kibana.dashboards import row
from kibana.model import Board, Chart, Control, Donut, Drawing, Layer, Listing, Metric, Number, Table, Terms
from kibana.views import VIEWS

_INCIDENTS, _CAUSES = VIEWS["incident"], VIEWS["cause"]
_LOST = Metric("sum", "lost_seconds", "Lost time", "span")

BOARD = Board(
    ids.INCIDENTS, "[pinchpoint] Incidents", "Incidents", "Which runs slowed down, why, and what did it cost?",
    (Control("workload", "Workload", _INCIDENTS, "run.workload"), Control("run", "Run", _INCIDENTS, "run.id"),
     Control("host", "Host", _INCIDENTS, "host.name")),
    (
        row(5,
            (Number("incidents", "Incidents", _INCIDENTS, Metric("unique_count", "incident.id", "Incidents", "count"),
                    subtitle="In the chosen time", alarm=(1, 5)), 10),
            (Number("runs", "Runs affected", _INCIDENTS, Metric("unique_count", "run.id", "Runs affected", "count")), 10),
            (Number("lost", "Lost time", _INCIDENTS, Metric("sum", "lost_seconds", "Lost time", "span"),
                    subtitle="Wall time of the runs"), 10),
            (Number("gpu-hours", "Lost GPU-hours", _CAUSES, Metric("sum", "lost_gpu_hours", "Lost GPU-hours", "h"),
                    subtitle="Of what is explained"), 9),
            (Number("confidence", "Confidence", _INCIDENTS, Metric("median", "cause.confidence", "Confidence", "ratio"),
                    subtitle="Median of the leading causes"), 9)),
        row(14, (Table(
            "table", "Incidents: click one to open it", _INCIDENTS, (Terms("incident.id", "Incident", 100, click=True),),
            (Metric("max", "lost_seconds", "Lost time", "span", alarm=(60, 3600)), Metric("max", "@timestamp", "Since"),
             Metric("max", "incident.end", "Until"),
             Metric("last_value", "run.workload", "Workload"), Metric("last_value", "run.id", "Run"),
             Metric("last_value", "host.name", "Host"), Metric("last_value", "cause.category", "Category"),
             Metric("last_value", "incident.summary", "What it is"), Metric("max", "cause.confidence", "Confidence", "ratio"),
             Metric("last_value", "incident.links.logs", "Raw logs")), drill=ids.INCIDENT), 48)),
        row(10,
            (Chart("over-time", "Incidents over time, by category of the leading cause", (
                Layer(_INCIDENTS, (Metric("unique_count", "incident.id", "Incidents", "count"),),
                      Terms("cause.category", "Category", 4)),), "bar_stacked", categories=True), 24),
            (Donut("by-category", "Lost time by category", _CAUSES, Terms("cause.category", "Category", 4), _LOST), 12),
            (Chart("by-workload", "Lost time by workload", (Layer(_INCIDENTS, (_LOST,)),), "bar_horizontal",
                   over=Terms("run.workload", "Workload", 10)), 12)),
        row(16, (Drawing("fishbone", "Which causes come back?", _CAUSES, fishbone.spec()), 48)),
        row(12,
            (Table("causes", "Causes", _CAUSES, (Terms("cause.name", "Cause", 50),),
                   (Metric("sum", "lost_seconds", "Lost time", "span"), Metric("sum", "lost_gpu_hours", "Lost GPU-hours", "h"),
                    Metric("unique_count", "incident.id", "Incidents", "count"), Metric("last_value", "cause.category", "Category"),
                    Metric("last_value", "cause.summary", "What it is"))), 32),
            (Chart("by-host", "Lost time by first host", (Layer(_INCIDENTS, (_LOST,)),), "bar_horizontal",
                   over=Terms("host.name", "Host", 10)), 16)),
        row(12,
            (Listing("changes", "Changes", "pinchpoint-changes"), 24),
            (Table("missing", "What to ship to be told more", _INCIDENTS, (Terms("pinchpoint.missing", "Missing", 50),),
                   (Metric("unique_count", "incident.id", "Incidents", "count"),), tall=True), 24)),
    ))
