"""What happened in this incident, how do we know, and what is to be done?"""

from kibana import fishbone, timeline, whychain
from kibana.boards import ids
from kibana.dashboards import row
from kibana.model import Board, Chart, Control, Drawing, Is, Layer, Listing, Metric, Number, Table, Terms
from kibana.views import VIEWS

_INCIDENTS, _CAUSES, _EVIDENCE, _LABELS = VIEWS["incident"], VIEWS["cause"], VIEWS["evidence"], VIEWS["pinchpoint-label"]

#: The series of an evidence record that tell the symptom of the run.
SYMPTOM = ("step_time", "rank.min", "rank.median", "rank.max")

BOARD = Board(
    ids.INCIDENT, "[pinchpoint] One incident", "One incident", "What happened in this incident, how do we know, and what is to be done?",
    (Control("incident", "Incident", _INCIDENTS, "incident.id", single=True),),
    (
        row(7, (Table(
            "verdict", "Verdict", _INCIDENTS, (Terms("incident.id", "Incident", 10),),
            (Metric("max", "@timestamp", "Since"), Metric("last_value", "run.id", "Run"),
             Metric("last_value", "incident.summary", "What it is"),
             Metric("last_value", "cause.category", "Category"), Metric("last_value", "incident.fix", "What to do"),
             Metric("last_value", "incident.links.logs", "Raw logs"), Metric("last_value", "incident.links.events", "Changes")),
            tall=True), 48)),
        row(4,
            (Number("lost", "Lost time", _INCIDENTS, Metric("max", "lost_seconds", "Lost time", "span")), 8),
            (Number("share", "Lost share", _INCIDENTS, Metric("max", "lost_ratio", "Share of the wall time", "ratio")), 8),
            (Number("observed", "Observed", _INCIDENTS, Metric("max", "symptom.observed", "Observed")), 8),
            (Number("baseline", "Baseline", _INCIDENTS, Metric("max", "symptom.baseline", "Baseline")), 8),
            (Number("confidence", "Confidence", _INCIDENTS, Metric("max", "cause.confidence", "Confidence", "ratio")), 8),
            (Number("gpu-hours", "Lost GPU-hours", _CAUSES, Metric("sum", "lost_gpu_hours", "Lost GPU-hours", "h")), 8)),
        row(18,
            (Drawing("why", "Why, and why nothing else", _CAUSES, whychain.spec()), 24),
            (Drawing("timeline", "Evidence in the order in which it came", _EVIDENCE, timeline.spec()), 24)),
        row(10, (Chart(
            "symptom", "Symptom: of the run, and least, median and most over its ranks", (
                Layer(_EVIDENCE, (Metric("average", "value", "Step time", "s"),), Terms("series", "Series", 4), (Is("series", SYMPTOM),)),),
            marks=True, discover=True), 48)),
        row(12,
            (Listing("said", "What changed and what the logs say", "pinchpoint-said"), 48)),
        row(14, (Drawing("fishbone", "Its causes by category", _CAUSES, fishbone.spec()), 48)),
        row(12,
            (Table("evidence", "Evidence", _EVIDENCE, (Terms("series", "Fact", 50),),
                   (Metric("max", "value", "Most"), Metric("min", "value", "Least"), Metric("max", "limit", "Limit"),
                    Metric("last_value", "unit", "Unit"), Metric("last_value", "cause.name", "Speaks for"),
                    Metric("min", "@timestamp", "From"), Metric("max", "@timestamp", "To")),
                   where=(Is("cause.id"),), sort=0, discover=True), 30),
            (Table("ranks", "Ranks, slowest first", _EVIDENCE, (Terms("entity.id", "Rank", 64),),
                   (Metric("median", "value", "Own time of a step", "s"), Metric("last_value", "host.name", "Host")),
                   where=(Is("series", "rank"),)), 18)),
        row(10,
            (Table("causes", "Causes", _CAUSES, (Terms("cause.name", "Cause", 20),),
                   (Metric("sum", "lost_seconds", "Lost time", "span"), Metric("max", "lost_ratio", "Share", "ratio"),
                    Metric("max", "cause.confidence", "Confidence", "ratio"), Metric("last_value", "cause.summary", "What it is"),
                    Metric("last_value", "entity.kind", "Of"), Metric("last_value", "entity.id", "Which"),
                    Metric("last_value", "cause.fix", "What to do")), tall=True), 34),
            (Table("labels", "What people said of it", _LABELS, (Terms("label", "Label", 20),),
                   (Metric("max", "@timestamp", "When"), Metric("last_value", "note", "Note"))), 14)),
    ), since="now-30d")
