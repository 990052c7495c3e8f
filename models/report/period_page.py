"""The page of a stretch of time."""

from typing import Any

from models.report.bars import bars, days_chart
from models.report.html import Markup, join, table, tag
from models.report.page import page
from models.report.period import Period
from models.report.words import plain
from pinchpoint import human
from pinchpoint.clock import format_time

_MOST = 20


def period_page(period: Period, title: str) -> str:
    """The page of what slowdowns cost; `title` says of which time."""
    hours = f"{human.three_digits(period.lost_gpu_hours)} GPU-hours"
    count = len(period.incidents)
    top = period.causes[0] if period.causes else None
    said = f"{title}: {hours} lost in {count} incident{'s' if count != 1 else ''}" + (
        f", most to {plain(top['cause'])}." if top else ".") if period.incidents else f"{title}: no slowdown was found."
    runs = period.runs
    tiles = [("lost", hours, "one GPU a rank"),
             ("the fixes give back", f"up to {human.three_digits(period.saves_gpu_hours)} GPU-hours", ""),
             ("runs", f"{runs['slow']} slow", f"{runs['healthy']} healthy, {runs['not_enough_data']} without enough data")]
    heading = join(tag("p", "Slow" if period.incidents else "Healthy", class_=f"badge v-{'slow' if period.incidents else 'healthy'}"),
                   tag("h1", said),
                   tag("dl", [tag("div", tag("dt", name), tag("dd", tag("strong", value), tag("span", note) if note else None))
                              for name, value, note in tiles], class_="tiles"),
                   tag("p", f"{_time(period.since)} to {_time(period.until)} UTC", class_="lead"))
    sections: list[tuple[str, str, Markup | None]] = [
        ("fixes", "What the top fixes would give back", _fixes(period)),
        ("categories", "Lost by category", bars([(row["category"], row["lost_gpu_hours"], row["category"]) for row in period.categories],
                                                "Lost GPU-hours by category")),
        ("days", "Day by day", days_chart(period.days) if period.incidents else None),
        ("causes", "Lost by cause", _rows(period.causes[:_MOST], ("cause", "category", "incidents", "runs", "lost_gpu_hours"), "Causes")),
        ("repeated", "What keeps coming back", _rows(period.repeated[:_MOST], ("where", "cause", "incidents", "lost_gpu_hours"),
                                                     "The same cause in the same place")),
        ("hosts", "Hosts that lost most", _rows(period.hosts, ("host", "incidents", "runs", "lost_gpu_hours"), "Hosts")),
        ("ranks", "Ranks and GPUs behind the others", _rows(period.ranks, ("rank", "host", "incidents", "worst_ratio"),
                                                            "Ranks whose own step time left the others, and by how many times")),
        ("workloads", "By workload", _rows(period.workloads, ("workload", "incidents", "runs", "lost_gpu_hours"), "Workloads")),
        ("incidents", "Incidents", _incidents(period)),
    ]
    return page(said, heading, sections, "Made by pinchpoint; this page asks nothing of the network.")


def _fixes(period: Period) -> Markup | None:
    fixes: dict[str, str] = {}
    for one in period.incidents:
        for cause in one["causes"]:
            if cause["fix"]:
                fixes.setdefault(cause["cause"], cause["fix"][0])
    rows = [[plain(row["cause"]), fixes.get(row["cause"], "-"), human.three_digits(row["saves_gpu_hours"])]
            for row in sorted(period.causes, key=lambda row: -row["saves_gpu_hours"])[:5] if row["saves_gpu_hours"]]
    return table("Top fixes", ["cause", "first thing to do", "gives back (GPU-hours)"], rows, (2,)) if rows else None


def _rows(rows: list[dict[str, Any]], names: tuple[str, ...], caption: str) -> Markup | None:
    numeric = tuple(place for place, name in enumerate(names) if name in ("incidents", "runs", "lost_gpu_hours", "worst_ratio"))
    heads = [{"lost_gpu_hours": "lost GPU-hours", "worst_ratio": "times the others"}.get(name, name) for name in names]
    cells = [[human.three_digits(row[name]) if isinstance(row[name], float) else plain(row[name]) if name == "cause" else row[name]
              for name in names] for row in rows]
    return table(caption, heads, cells, numeric) if rows else None


def _incidents(period: Period) -> Markup | None:
    rows = [[one["id"], one["start"][:16].replace("T", " "), one["run"],
             plain(one["causes"][0]["cause"]) if one["causes"] else "unexplained",
             human.three_digits(one["lost_gpu_hours"])] for one in period.incidents[:_MOST * 5]]
    return table("Incidents that lost most; each opens with pinchpoint explain ID --html FILE",
                 ["incident", "start (UTC)", "run", "cause", "lost GPU-hours"], rows, (4,)) if rows else None


def _time(time_ns: int) -> str:
    return format_time(time_ns)[:16].replace("T", " ")
