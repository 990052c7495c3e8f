"""Boards as Kibana keeps dashboards: panels on the grid, controls, links, and every reference repeated."""

from collections.abc import Sequence
from typing import Any

from kibana import lens
from kibana.model import Board, Chart, Control, Donut, Drawing, Heat, Listing, Number, Panel, Row, Table
from kibana.views import TAG, saved, text, types

Body = dict[str, Any]

VERSION = "10.2.0"
_LINKS_HEIGHT = 2
_NO_SEARCH = {"query": {"query": "", "language": "kuery"}, "filter": []}


def dashboard(board: Board, boards: Sequence[Board]) -> Body:
    """A board as a saved object; `boards` are those its row of links leads to."""
    panels: list[Body] = []
    references = _control_references(board.controls)
    links, linked = _links(boards)
    panels.append(_placed("nav", 0, 0, 48, _LINKS_HEIGHT, "links", links))
    references += linked
    y = _LINKS_HEIGHT
    for row in board.rows:
        x = 0
        for panel, width in row.panels:
            kind, config, needed, outside = _drawn(panel)
            panels.append({**_placed(panel.key, x, y, width, row.height, kind, config), **outside})
            references += [{**one, "name": f"{panel.key}:{one['name']}"} for one in needed]
            x += width
        y += row.height
    references.append({"type": "tag", "id": TAG, "name": f"tag-ref-{TAG}"})
    return saved("dashboard", board.id, {
        "title": board.title, "description": board.question, "version": 1, "timeRestore": True, "timeFrom": board.since, "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 60000}, "panelsJSON": text(panels),
        "optionsJSON": text({"useMargins": True, "syncColors": True, "syncCursor": True, "syncTooltips": False, "hidePanelTitles": False}),
        "controlGroupInput": {
            "controlStyle": "oneLine", "chainingSystem": "HIERARCHICAL", "showApplySelections": False,
            "panelsJSON": text({control.key: _control(control, order) for order, control in enumerate(board.controls)}),
            "ignoreParentSettingsJSON": text({"ignoreFilters": False, "ignoreQuery": False, "ignoreTimerange": False,
                                              "ignoreValidations": False})},
        "kibanaSavedObjectMeta": {"searchSourceJSON": text(_NO_SEARCH)}}, references, VERSION)


def _placed(key: str, x: int, y: int, width: int, height: int, kind: str, config: Body) -> Body:
    return {"type": kind, "panelIndex": key, "gridData": {"x": x, "y": y, "w": width, "h": height, "i": key}, "embeddableConfig": config}


def _drawn(panel: Panel) -> tuple[str, Body, list[Body], Body]:
    """Kind, configuration, references and what else stands beside the configuration of a panel."""
    if isinstance(panel, Drawing):
        return "visualization", {"enhancements": {"dynamicActions": {"events": []}}, "savedVis": {
            "id": "", "title": panel.title, "description": "", "type": "vega", "params": {"spec": panel.spec}, "uiState": {},
            "data": {"aggs": [], "searchSource": _NO_SEARCH}}}, [], {}
    if isinstance(panel, Listing):
        name = f"panel_{panel.key}"
        return "search", {"title": panel.title, "enhancements": {}}, [{"type": "search", "id": panel.search, "name": name}], {
            "panelRefName": name}
    drawn = _lens(panel)
    config: Body = {"attributes": drawn.attributes, "enhancements": {"dynamicActions": {"events": drawn.events}}}
    if isinstance(panel, Number):
        config["hidePanelTitles"] = True
    return "lens", config, drawn.references, {}


def _lens(panel: Panel) -> lens.Drawn:
    match panel:
        case Number():
            return lens.number(panel)
        case Chart():
            return lens.chart(panel)
        case Donut():
            return lens.donut(panel)
        case Heat():
            return lens.heat(panel)
        case Table():
            return lens.table(panel)
    raise TypeError(f"no such panel: {panel}")


def _links(boards: Sequence[Board]) -> tuple[Body, list[Body]]:
    links, references = [], []
    for order, board in enumerate(boards):
        name = f"link_nav-{order}_dashboard"
        links.append({"id": f"nav-{order}", "label": board.short, "order": order, "type": "dashboardLink", "destinationRefName": name,
                      "options": {"openInNewTab": False, "useCurrentFilters": False, "useCurrentDateRange": True}})
        references.append({"type": "dashboard", "id": board.id, "name": f"nav:{name}"})
    return {"attributes": {"layout": "horizontal", "links": links}, "enhancements": {}}, references


def _control(control: Control, order: int) -> Body:
    types(control.view)[control.field]
    return {"type": "optionsListControl", "order": order, "width": "medium", "grow": True, "explicitInput": {
        "id": control.key, "dataViewId": control.view.id, "fieldName": control.field, "title": control.title,
        "searchTechnique": "prefix", "selectedOptions": [], "singleSelect": control.single,
        "sort": {"by": "_count", "direction": "desc"}}}


def _control_references(controls: Sequence[Control]) -> list[Body]:
    return [{"type": "index-pattern", "id": control.view.id, "name": f"controlGroup_{control.key}:optionsListDataView"}
            for control in controls]


def row(height: int, *panels: tuple[Panel, int]) -> Row:
    """Panels side by side; they must fill the width. Raises: ValueError."""
    if sum(width for _, width in panels) != 48:
        raise ValueError(f"{[panel.key for panel, _ in panels]} are {sum(width for _, width in panels)} wide, a row is 48")
    return Row(height, panels)
