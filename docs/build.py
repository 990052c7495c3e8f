"""Write docs/reference from the code: fields, metrics, commands, causes and settings.

python docs/build.py          writes the pages
python docs/build.py --check  changes nothing and fails when a page is not what would be written
"""

import dataclasses
import itertools
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from models.facts import FACTS
from pinchpoint import cli, config, fields, ship_settings
from pinchpoint.metrics import METRICS

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
CATALOGUE = ROOT / "models" / "causes" / "catalogue"


def fields_page() -> str:
    """Every kind of record with its fields, then every field."""
    parts = ["# Fields",
             "Records are flat. Times are UTC, shares lie between 0 and 1. No value means: cannot be measured here; NaN: not enough seen "
             "yet; 0: measured, none.",
             "## Kinds of record"]
    for title, kinds in (("Shipped", fields.SHIPPED), ("Made by the analysis", fields.DERIVED)):
        parts += [f"### {title}", _table(("kind", "fields"), [(f"`{kind}`", _names(fields.KINDS[kind])) for kind in kinds])]
    parts += ["## All fields", _table(("field", "type", "unit", "meaning"), [
        (f"`{field.name}`", field.type, field.unit or "", field.meaning) for field in fields.FIELDS.values()])]
    parts += ["## Phases", "The exclusive parts of a step's wall time.",
              _table(("phase", "meaning"), [(f"`{name}`", meaning) for name, meaning in fields.PHASES.items()])]
    return _page(parts, "pinchpoint/fields.py")


def metrics_page() -> str:
    """Every metric, by the kind of entity it is read of."""
    parts = ["# Metrics", "Readings of one entity at one time. A counter only grows; the analysis takes differences. The last column "
             "prints the same number, so that anybody can check it."]
    for entity in dict.fromkeys(metric.entity for metric in METRICS.values()):
        parts += [f"## {entity}", _table(("metric", "kind", "unit", "meaning", "check"), [
            (f"`{metric.name}`", metric.kind, metric.unit, metric.meaning, f"`{metric.check}`")
            for metric in METRICS.values() if metric.entity == entity])]
    return _page(parts, "pinchpoint/metrics")


def commands() -> list[tuple[str, click.Command]]:
    """Every command as it is typed, and the commands below groups, sorted."""
    root = click.Context(cli.root, info_name="pinchpoint", max_content_width=80, terminal_width=80)
    found: list[tuple[str, click.Command]] = []
    for name in cli.root.list_commands(root):
        command = cli.root.get_command(root, name)
        if command is not None:
            found.append((f"pinchpoint {name}", command))
        if isinstance(command, click.Group):
            found += [(f"pinchpoint {name} {below}", command.commands[below]) for below in sorted(command.commands)]
    return found


def commands_page() -> str:
    """The help of every command, 80 columns wide."""
    parts = ["# Commands", "Data goes to stdout, talk to stderr. Exit status: 0 answered, 1 failed, 2 wrong usage, 130 interrupted."]
    for path, command in [("pinchpoint", cli.root), *commands()]:
        parts += [f"## {path}", f"```text\n{_help(path, command)}\n```"]
    return _page(parts, "the commands' own help")


def _help(path: str, command: click.Command) -> str:
    parent = None
    for name in path.split()[:-1]:
        parent = click.Context(cli.root, parent=parent, info_name=name, help_option_names=["-h", "--help"])
    context = click.Context(command, parent=parent, info_name=path.split()[-1], terminal_width=80, max_content_width=80,
                            help_option_names=["-h", "--help"])
    return command.get_help(context)


def causes_page() -> str:
    """Every cause of the catalogue, with the evidence it needs and what to do about it."""
    causes = [cause for path in sorted(CATALOGUE.glob("*.toml"))
              for cause in tomllib.loads(path.read_text(encoding="utf-8"))["cause"]]
    parts = ["# Causes",
             "What pinchpoint can name as the reason for lost seconds. A piece of evidence has two limits: from the first on it speaks "
             "somewhat, from the second on strongly.",
             _table(("id", "cause", "category", "says"),
                    [(cause["id"], f"[{cause['name']}](#{_anchor(cause)})", cause["category"], cause["summary"]) for cause in causes])]
    for category in fields.CATEGORIES:
        parts.append(f"## {category}")
        for cause in causes:
            if cause["category"] == category:
                parts += _cause(cause)
    return _page(parts, "models/causes/catalogue")


def _cause(cause: Mapping[str, Any]) -> list[str]:
    parts = [f"### {cause['id']} {cause['name']}", f"{_sentence(cause['summary'])} Explains {_names(cause['explains'])}.",
             f"Why: {cause['why']}"]
    rows = [(title, _facts(piece), piece.get("because", ""))
            for title, key in (("needs", "required"), ("speaks for it", "supporting"), ("speaks against it", "excluding"))
            for piece in cause.get(key, ())]
    if rows:
        parts.append(_table(("evidence", "fact and limits", "because"), rows))
    parts += ["What to do:", "\n".join(f"- {fix}" for fix in cause["fix"]), f"Source of the limits: {cause['source']}"]
    return parts


def _facts(piece: Mapping[str, Any]) -> str:
    if "any" in piece:
        return " or ".join(_facts(one) for one in piece["any"])
    limits = [f"{way} {some:g}, strongly {way} {strong:g}" if some != strong else f"{way} {some:g}"
              for way in ("above", "below") if way in piece for some, strong in [piece[way]]]
    return " and ".join([f"`{piece['fact']}` {limit}" for limit in limits])


def _anchor(cause: Mapping[str, Any]) -> str:
    return f"{cause['id']}-{cause['name']}".lower()


def inputs_page() -> str:
    """What each cause needs, and which inputs give it."""
    needs = tomllib.loads((ROOT / "docs" / "cause_inputs.toml").read_text(encoding="utf-8"))["need"]
    number = {need["what"]: place for place, need in enumerate(needs, 1)}
    causes = [cause for path in sorted(CATALOGUE.glob("*.toml")) for cause in tomllib.loads(path.read_text(encoding="utf-8"))["cause"]]
    rows = []
    for cause in sorted(causes, key=lambda one: (one["category"], one["id"])):
        clauses = [" or ".join(str(place) for place in sorted({number[FACTS[one["fact"]].needs] for one in piece.get("any", [piece])}))
                   for piece in cause.get("required", ())]
        rows.append((cause["id"], f"[{cause['name']}](causes.md#{_anchor(cause)})", cause["category"], "; ".join(dict.fromkeys(clauses))))
    parts = ["# Which cause needs which input",
             "A cause that needs what is not among the inputs is listed under `missing`, and never named by guess. Records as NDJSON "
             "can hold all of it; [what each reader takes](../formats.md).",
             _table(("id", "cause", "category", "needs, by number"), rows),
             "## Where it comes from",
             _table(("number", "needed", "readers of `pinchpoint diagnose`", "live"), [
                 (str(number[need["what"]]), need["what"], _names(need["readers"]) or "`records`", need["live"]) for need in needs])]
    return _page(parts, "models/causes/catalogue, models/facts and docs/cause_inputs.toml")


def settings_page() -> str:
    """Every setting of pinchpoint.toml with its default."""
    parts = ["# Settings",
             f"`{config.FILE_NAME}` is looked for in this order: `--config FILE`, `$PINCHPOINT_CONFIG`, the working directory, the folder "
             "`$XDG_CONFIG_HOME/pinchpoint`. The first one found counts alone. Unknown settings are refused.",
             "```toml\n[analysis]\nwindow_s = 30\n\n[retention.days]\nmetric = 7\n```"]
    for title, kind in (("", config.Config), *sorted({**config.SECTIONS, **ship_settings.SECTIONS}.items())):
        rows = [(f"`{title and title + '.'}{field.name}`", _default(field), field.metadata["meaning"])
                for field in dataclasses.fields(kind) if "meaning" in field.metadata]
        parts += [f"## {title}" if title else "## At the top", *([_sentence(kind.__doc__ or "")] if title else [])]
        parts += [_table(("setting", "default", "meaning"), rows)] if rows else []
    return _page(parts, "pinchpoint/config.py")


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is dataclasses.MISSING:
        return "needed"
    value = field.default_factory()
    if value is None:
        return "`$XDG_DATA_HOME/pinchpoint/lake`" if field.name == "store" else "none"
    if dataclasses.is_dataclass(value):
        return "see below"
    if isinstance(value, Mapping):
        return ", ".join(sorted({f"`{each:g}` each" for each in value.values()})) or "none"
    if isinstance(value, tuple):
        return f"`{list(value)}`" if value else "none"
    return f"`{value}`"


def _page(parts: Iterable[str], source: str) -> str:
    return "\n\n".join([f"<!-- Written by `make docs` from {source}; changes belong there. -->", *parts]) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith(".") else text + "."


def mappings_page() -> str:
    """Every entry by which documents of other shippers become records, in the order in which they are tried."""
    folder = ROOT / "pinchpoint" / "store" / "es" / "mappings_of_others"
    parts = ["# Documents of others",
             "What `--index` understands, in the order in which it is tried. "
             "[How to add to it](../elasticsearch-others.md#your-own-mapping)."]
    for path in sorted(folder.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
        comment = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
        parts += [f"## {path.stem.lstrip('0123456789_')}", " ".join(line.removeprefix("#").strip() for line in comment)]
        if "fields" in document:
            parts.append(_table(("ours", "theirs"), [(f"`{name}`", _theirs(value)) for name, value in document["fields"].items()]))
        for entry in document.get("entry", ()):
            parts += _mapping(entry)
    return _page(parts, "pinchpoint/store/es/mappings_of_others")


def _mapping(entry: Mapping[str, Any]) -> list[str]:
    when, entity = entry["when"], entry.get("entity")
    exists = when.get("exists", [])
    conditions = [f"`{field}` is there" for field in ([exists] if isinstance(exists, str) else exists)]
    conditions += [f"`{field}` is {_theirs(value)}" for field, value in when.get("equals", {}).items()]
    about = f" of a {entity['kind']}, {_theirs(entity['id'])}," if entity else ""
    parts = [f"### {entry['name']}", f"{'An' if entry['kind'] == 'event' else 'A'} {entry['kind']}{about} when {' and '.join(conditions)}."]
    rows = [(f"`{name}`", _theirs(value)) for name, value in entry.get("fields", {}).items()]
    rows += [(f"`{name}`", f"always {value}") for name, value in entry.get("constants", {}).items()]
    rows += [(f"metric `{name}`", _theirs(value)) for name, value in entry.get("metrics", {}).items()]
    rows += [("other metrics", f"each number in `{entry['metrics_from']}`")] if "metrics_from" in entry else []
    return [*parts, _table(("ours", "theirs"), rows)] if rows else parts


def _theirs(value: Any) -> str:
    """Where a value is looked for, in words."""
    if isinstance(value, Mapping):
        scale = f" × {value['scale']:g}" if "scale" in value else ""
        where = " + ".join(f"`{name}`" for name in value["sum"]) if "sum" in value else _theirs(value["field"])
        return where + scale
    return f"`{value}`" if isinstance(value, str) else ", ".join(f"`{name}`" for name in value)


PAGES = {
    "fields.md": fields_page,
    "metrics.md": metrics_page,
    "commands.md": commands_page,
    "causes.md": causes_page,
    "inputs.md": inputs_page,
    "settings.md": settings_page,
    "mappings.md": mappings_page,
}


def outdated() -> list[str]:
    """Names of the pages that are not what would be written now."""
    return [name for name, page in PAGES.items()
            if not (REFERENCE / name).is_file() or (REFERENCE / name).read_text(encoding="utf-8") != page()]


def main() -> int:
    """Write or check the pages."""
    if "--check" in sys.argv[1:]:
        names = outdated()
        if names:
            print(f"docs/reference is not up to date: {', '.join(names)}. Run `make docs` and commit what it wrote.", file=sys.stderr)
        return 1 if names else 0
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
