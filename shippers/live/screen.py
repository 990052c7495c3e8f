"""Draw the picture of a run as lines for a terminal of any size, with colour or without."""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pinchpoint.clock import NS
from pinchpoint.human import printable, seconds, share, size, three_digits

#: By meaning, as on every other picture of pinchpoint.
CATEGORY = {"data": "#0072B2", "infrastructure": "#D55E00", "model": "#009E73", "process": "#CC79A7"}
_VERDICT = {"slow": ("SLOW", "bold red"), "healthy": ("HEALTHY", "bold green"), "not_enough_data": ("NOT ENOUGH DATA YET", "bold yellow")}
_PHASE = {"data_wait": "data wait", "h2d": "copy to device", "gc": "garbage coll.", "gap": "between steps"}
_WORK = ("forward", "backward", "optimizer", "compute")
_SPARKS = {False: "▁▂▃▄▅▆▇█", True: "_.-=+*#@"}
_BAR = {False: "█", True: "#"}
_NARROW = 60
_MOST_PHASES, _MOST_RANKS, _MOST_GPUS = 6, 6, 8
#: What a phase must take more than before to be marked.
_MORE = 1.2
#: Share of a step below which a phase is not shown.
_LEAST = 0.005


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """How much room there is, and what the terminal can show."""

    width: int
    height: int
    ascii: bool = False
    """Only the 95 characters that every terminal has."""


def draw(picture: dict[str, Any] | None, output: Sequence[str], page: Page, note: str = "") -> list[Text]:
    """At most `page.height` lines, none wider than `page.width`; the most important first where there is no room for all.

    Args:
        picture: what `pipelines.live.look` gives; None while nothing was seen.
        output: last lines that the command printed, the newest last.
        page: the room.
        note: the last line: which keys there are.
    """
    if picture is None:
        parts = [[Text("waiting for the first records …")]]
    else:
        parts = [_head(picture, page), _suspicion(picture, page), _phases(picture, page), _ranks(picture, page), _gpus(picture, page),
                 _hosts(picture, page)]
    room = page.height - bool(note)
    lines: list[Text] = []
    for number, part in enumerate(parts):
        if not part:
            continue
        # the parts below get two lines each before one above gets all of its own
        kept = 2 * sum(bool(below) for below in parts[number + 1:])
        lines += part[: max(room - len(lines) - kept, 2)]
    lines = lines[:room]
    if output and (left := room - len(lines)) >= 2:
        lines.append(_title("output", page))
        lines += [Text(printable(line), style="dim") for line in output[-(left - 1):]]
    lines += [Text()] * (room - len(lines))
    if note:
        lines.append(Text(note, style="dim"))
    return [_fitted(line, page) for line in lines]


def plain(picture: dict[str, Any] | None) -> str:
    """One line for a terminal that can only print: how it goes, and what is suspected."""
    if picture is None:
        return "pinchpoint: waiting for the first records"
    word, _ = _VERDICT[picture["verdict"]]
    parts = [f"pinchpoint: {word.lower()}", f"{picture['steps']} steps"]
    if picture["step_time_s"] is not None:
        parts.append(f"{seconds(picture['step_time_s'])} a step")
    if picture["phases"] and picture["step_time_s"]:
        name, now, _ = picture["phases"][0]
        parts.append(f"{_PHASE.get(name, name)} {share(now / picture['step_time_s'])}")
    causes = [cause for incident in picture["incidents"][:1] for cause in incident["causes"][:1]]
    return ", ".join(parts + [f"{cause['cause']} ({cause['category']}, {share(cause['confidence'])} sure)" for cause in causes])


def _fitted(line: Text, page: Page) -> Text:
    """Exactly one line of the terminal."""
    if page.ascii:
        line = _in_ascii(line)
    line = line.copy()
    line.no_wrap = True
    if cell_len(line.plain) > page.width:
        line.truncate(page.width, overflow="crop" if page.ascii else "ellipsis")
    return line


_ASCII = str.maketrans({"…": ".", "·": "-", "─": "-", "×": "x", "°": " ", "→": ">", "µ": "u", "▲": "^"})


def _in_ascii(line: Text) -> Text:
    told = line.plain.translate(_ASCII).encode("ascii", "replace").decode()
    return Text(told, spans=list(line.spans), style=line.style) if len(told) == len(line.plain) else Text(told)


def _title(name: str, page: Page, after: str = "") -> Text:
    title = f"── {name} "
    line = Text(title + "─" * max(page.width - cell_len(title) - cell_len(after) - bool(after), 0), style="dim")
    return line.append(f" {after}") if after else line


def _head(picture: dict[str, Any], page: Page) -> list[Text]:
    word, style = _VERDICT[picture["verdict"]]
    first = Text().append(word, style=style)
    first.append(f"  {printable(picture['workload'] or picture['run'])}", style="bold")
    facts = [f"{picture['steps']:,} steps".replace(",", " ")]
    if picture["step_time_s"] is not None:
        facts.append(f"{seconds(picture['step_time_s'])} a step")
        if picture["usual_s"] and picture["step_time_s"] / picture["usual_s"] >= _MORE:
            facts.append(f"{three_digits(picture['step_time_s'] / picture['usual_s'])}× of before")
    if picture["at"] is not None:
        facts.append(f"{datetime.datetime.fromtimestamp(picture['at'] // NS, datetime.UTC):%H:%M:%S} UTC")
    first.append("  " + " · ".join(facts))
    lines = [first]
    known = picture["trend"][-max(page.width - 32, 8):]
    if len(known) > 1:
        sparks, most = _SPARKS[page.ascii], max(known)
        line = Text("step time ")
        line.append("".join(sparks[min(int(point / most * len(sparks)), len(sparks) - 1)] for point in known))
        lines.append(line.append(f" {seconds(min(known))} … {seconds(most)}", style="dim"))
    return lines


def _suspicion(picture: dict[str, Any], page: Page) -> list[Text]:
    lines = [_title("suspicion", page)]
    if not picture["incidents"]:
        return lines + _wrapped(picture["summary"], page, "")
    incident = picture["incidents"][0]
    for place, cause in enumerate(incident["causes"][:2]):
        line = Text().append("▲ " if place == 0 else "  ", style="bold red")
        line.append(cause["cause"], style=f"bold {CATEGORY.get(cause['category'], '')}")
        line.append(f"  {cause['category']}, {share(cause['confidence'])} sure, {seconds(cause['lost_seconds'])} lost")
        lines.append(line)
        if place == 0:
            lines += _wrapped(cause["why"][-1], page, "  ")
            lines += _wrapped(f"do: {cause['fix'][0]}", page, "  ") if cause["fix"] else []
    if not incident["causes"]:
        lines += _wrapped(picture["summary"], page, "")
    return lines


def _wrapped(text: str, page: Page, indent: str) -> list[Text]:
    import textwrap

    return [Text(line) for line in textwrap.wrap(printable(text), max(page.width - 1, 20), initial_indent=indent, subsequent_indent=indent)]


def _phases(picture: dict[str, Any], page: Page) -> list[Text]:
    step = picture["step_time_s"]
    if not picture["phases"] or not step:
        return []
    lines = [_title("phases of a step", page, "before" if page.width >= _NARROW else "")]
    room = max(page.width - (46 if page.width >= _NARROW else 26), 4)
    worth = [one for one in picture["phases"] if max(one[1], one[2] or 0.0) >= _LEAST * step]
    for name, now, before in worth[:_MOST_PHASES]:
        line = Text(f"{_PHASE.get(name, name):<14.14}{share(now / step):>6}  ")
        more = before is not None and now > _MORE * before and now > 0.05 * step
        tone = "green" if name in _WORK else "yellow" if now / step >= 0.1 else "dim"
        bar = _BAR[page.ascii] * min(max(round(now / step * room), 1), room)
        line.append(bar + " " * (room - len(bar)), style=tone)
        if page.width >= _NARROW:
            line.append(f" {seconds(now):>11}", style="bold red" if more else "")
            line.append(f"{'' if before is None else seconds(before):>11}", style="dim")
        lines.append(line)
    return lines


def _ranks(picture: dict[str, Any], page: Page) -> list[Text]:
    ranks = picture["ranks"]
    if len(ranks) < 2:
        return []
    most = max((one["own_s"] or 0.0 for one in ranks), default=0.0) or 1.0
    lines = [_title(f"ranks, slowest of {len(ranks)} first", page, "of the others" if page.width >= _NARROW else "")]
    room = max(page.width - (58 if page.width >= _NARROW else 30), 4)
    for one in ranks[:_MOST_RANKS]:
        own = one["own_s"]
        line = Text(f"{one['rank']:>5} ")
        line.append(set_cell_size(printable(one["host"] or ""), 12) + f" {'-' if own is None else seconds(own):>9} ")
        bar = _BAR[page.ascii] * min(max(round((own or 0.0) / most * room), 1), room)
        straggles = one["ratio"] is not None and one["ratio"] >= 1.1
        line.append(bar + " " * (room - len(bar)), style="yellow" if straggles else "green")
        if page.width >= _NARROW:
            line.append(f" {_PHASE.get(one['longest'] or '', one['longest'] or ''):<14.14}", style="dim")
            ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}×"
            line.append(f"{ratio:>8}", style="bold red" if straggles else "")
        lines.append(line)
    return lines


def _gpus(picture: dict[str, Any], page: Page) -> list[Text]:
    gpus = sorted(picture["gpus"], key=lambda one: (not one["held"], one["host"] or "", one["index"] if one["index"] is not None else -1))
    if not gpus:
        return []
    lines = [_title(f"GPUs ({len(gpus)})", page)]
    for one in gpus[:_MOST_GPUS]:
        name = f"{one['index']}" if one["index"] is not None else one["id"][:8]
        line = Text(f"{printable(name):>5} ")
        if page.width >= _NARROW:
            line.append(set_cell_size(printable(one["host"] or ""), 12) + " ")
        line.append("" if one["busy"] is None else f"busy {share(one['busy']):>5} ")
        line.append(_clock(one))
        if one["used_bytes"] is not None and one["total_bytes"]:
            line.append(f" mem {share(one['used_bytes'] / one['total_bytes']):>5} of {size(one['total_bytes'])}")
        line.append("" if one["celsius"] is None else f" {three_digits(one['celsius'])} °C")
        line.append("" if one["power_w"] is None else f" {three_digits(one['power_w'])} W")
        if one["lost"]:
            line.append("  LOST", style="bold red")
        elif one["held"]:
            line.append(f"  held by {', '.join(one['held'])}", style="bold red")
        lines.append(line)
    return lines


def _clock(gpu: dict[str, Any]) -> str:
    if gpu["clock_hz"] is None:
        return ""
    of = f"/{gpu['clock_max_hz'] / 1e6:.0f}" if gpu["clock_max_hz"] else ""
    return f" {gpu['clock_hz'] / 1e6:.0f}{of} MHz"


def _hosts(picture: dict[str, Any], page: Page) -> list[Text]:
    hosts = picture["host"]
    if not hosts:
        return []

    def told(one: dict[str, Any]) -> Iterable[tuple[str, bool]]:
        for word, name, limit in (("CPU", "cpu", 0.95), ("memory", "memory", 0.95), ("waits: CPU", "cpu_wait", 0.2),
                                  ("disk", "io_wait", 0.2), ("memory", "memory_wait", 0.05)):
            if one[name] is not None:
                yield f"{word} {share(min(one[name], 1.0))}", one[name] >= limit

    lines = [_title("host" if len(hosts) == 1 else f"hosts ({len(hosts)})", page)]
    for one in sorted(hosts, key=lambda each: -(each["cpu"] or 0.0))[:4]:
        line = Text(set_cell_size(printable(one["host"]), 12) + " ")
        for place, (text, bad) in enumerate(told(one)):
            line.append(" · " if place else "")
            line.append(text, style="bold red" if bad else "")
        lines.append(line)
    return lines
