"""A dashboard's stand-in: its JSON and the answers of a Prometheus as one HTML page, laid out as Grafana does."""

import html
import json
import re
import urllib.parse
import urllib.request

from chart import COLOURS, PALETTE, THEMES, curves, heatmap, spark
from units import written

# Of Grafana's grid on a page of WIDTH: a unit of height, and what lies between two panels.
WIDTH, UNIT, GAP = 1600, 30, 8
HEADER = 84

STYLE = """
* { box-sizing: border-box; } body { margin: 0; font: 14px/1.35 Inter, "DejaVu Sans", sans-serif; }
header { height: 84px; padding: 14px 8px; } h1 { font-size: 20px; margin: 0 0 6px; font-weight: 600; }
header p { margin: 0; } .board { position: relative; }
.panel { position: absolute; border: 1px solid; border-radius: 2px; overflow: hidden; }
.panel h2 { font-size: 14px; font-weight: 500; margin: 0; padding: 6px 8px; height: 32px; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; } .row h2 { font-size: 16px; padding: 3px 4px; height: 30px; }
.row { position: absolute; } img { display: block; } .legend { padding: 0 8px; overflow: hidden; font-size: 12px; }
.legend span { display: inline-block; margin-right: 12px; }
.legend i { display: inline-block; width: 14px; height: 4px;
  border-radius: 2px; margin: 0 5px 3px 0; } .number { position: absolute; inset: 32px 0 0; text-align: center; }
.number b { position: relative; font-weight: 500; display: block; white-space: nowrap; }
.number img { position: absolute; bottom: 0; left: 0; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
td, th { padding: 5px 8px; text-align: left; white-space: nowrap;
  border-bottom: 1px solid; font-weight: 400; } th { font-weight: 500; } .n { text-align: right; }
.empty { position: absolute; inset: 0; display: grid; place-items: center; }
"""


class Answers:
    """What a Prometheus has recorded over a span of time."""

    def __init__(self, port, span, step, rate):
        self.port, self.span, self.step, self.rate = port, span, step, rate

    def filled_in(self, query):
        """Variables by what Grafana puts in their place when nothing is chosen."""
        values = {"__rate_interval": f"{self.rate}s", "__range": f"{int(self.span[1] - self.span[0])}s", "job": ".*",
                  "instance": ".*", "schema": ".*", "table": ".*"}
        return re.sub(r"\$(\w+)", lambda found: values[found[1]], query)

    def ask(self, path, **parameters):
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    def series(self, query):
        """[(labels, [(moment, value), …]), …]"""
        (start, end), query = self.span, self.filled_in(query)
        found = self.ask("query_range", query=query, start=start, end=end, step=self.step)
        read = lambda points: [(float(at), float(value)) for at, value in points if value != "NaN"]  # noqa: E731
        return [(one["metric"], read(one["values"])) for one in found]

    def now(self, query):
        """[(labels, value), …] at the end."""
        found = self.ask("query", query=self.filled_in(query), time=self.span[1])
        return [(one["metric"], float(one["value"][1])) for one in found]


def legend(text, labels):
    if text == "__auto":
        inner = ", ".join(f'{key}="{value}"' for key, value in labels.items() if key != "__name__")
        return next(iter(labels.values())) if len(labels) == 1 else "{" + inner + "}"
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), text).strip()


def overridden(panel, name):
    """What the overrides say of a field, by property."""
    properties = {}
    for one in panel["fieldConfig"]["overrides"]:
        kind, wanted = one["matcher"]["id"], one["matcher"]["options"]
        if wanted == name if kind == "byName" else re.search(wanted.strip("/"), name):
            properties.update({each["id"]: each["value"] for each in one["properties"]})
    return properties


def merged(panel, answers):
    """The rows of a table, joined on the labels that its queries share, and its columns in order."""
    columns, rows = [], []
    for target in panel["targets"]:
        name = f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value"
        for labels, value in answers.now(target["expr"]):
            columns += [key for key in [*labels, name] if key not in columns]
            fits = [row for row in rows if all(row.get(key, other) == other for key, other in labels.items())]
            for row in [row for row in fits if name not in row] or [None]:
                if row is None:
                    row = dict(labels)
                    rows.append(row)
                row.update(labels)
                row[name] = value
    for step in panel.get("transformations", []):
        if step["id"] == "organize":
            order, new = step["options"]["indexByName"], step["options"]["renameByName"]
            columns = [name for name in columns if not step["options"]["excludeByName"].get(name)]
            columns.sort(key=lambda name: order.get(name, len(order)))
            rows = [{new.get(key, key): value for key, value in row.items()} for row in rows]
            columns = [new.get(name, name) for name in columns]
    for sort in reversed(panel["options"].get("sortBy", [])):
        rows.sort(key=lambda row: row.get(sort["displayName"], 0), reverse=sort.get("desc", False))
    return columns, rows


class StandIn:
    """One dashboard in one theme. `said` gathers what a reader of the page should know, by panel."""

    def __init__(self, dashboard, answers, theme):
        self.dashboard, self.answers, self.theme, self.said = dashboard, answers, theme, []

    def page(self):
        look, board = THEMES[self.theme], self.dashboard
        panels = board["panels"]
        height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * (UNIT + GAP)
        colours = (f"body {{ background: {look['page']}; color: {look['text']}; }}"
                   f" .panel {{ background: {look['panel']}; border-color: {look['edge']}; }} td, th {{ border-color: {look['edge']}; }}"
                   f" .faint, .empty {{ color: {look['faint']}; }} ")
        chosen = ((one["label"], one["current"]["text"]) for one in board["templating"]["list"])
        choices = " · ".join(f"{label}: {text if isinstance(text, str) else ', '.join(text)}" for label, text in chosen)
        body = "".join(self.placed(panel) for panel in panels)
        return (
            f"<!doctype html><meta charset=utf-8><title>{html.escape(board['title'])}</title>"
            f"<style>{STYLE}{colours}</style><header><h1>{html.escape(board['title'])}</h1>"
            f"<p>{html.escape(board['description'])}</p><p class=faint>{html.escape(choices)}</p></header>"
            f"<div class=board style='height:{height}px'>{body}</div>"
        ), height + HEADER

    def placed(self, panel):
        at, column = panel["gridPos"], (WIDTH - GAP) / 24
        width, height = int(at["w"] * column - GAP), at["h"] * (UNIT + GAP) - GAP
        left, top = int(at["x"] * column + GAP), at["y"] * (UNIT + GAP)
        place = f"left:{left}px;top:{top}px;width:{width}px;height:{height}px"
        title = html.escape(panel["title"])
        if panel["type"] == "row":
            return f"<div class=row style='{place}'><h2>⌄ {title}</h2></div>"
        inner = getattr(self, panel["type"])(panel, width - 2, height - 34)
        hint = html.escape(panel.get("description", ""), quote=True)
        return f"<section class=panel style='{place}' title=\"{hint}\"><h2>{title}</h2>{inner}</section>"

    def empty(self, panel):
        self.said.append(f"{panel['title']}: no data")
        return "<div class=empty>No data</div>"

    def timeseries(self, panel, width, height):
        defaults, found = panel["fieldConfig"]["defaults"], []
        for target in panel["targets"]:
            series = self.answers.series(target["expr"])
            found += [(legend(target["legendFormat"], labels), points) for labels, points in series]
        if not found:
            return self.empty(panel)
        shown = []
        for number, (name, points) in enumerate(found):
            wanted = overridden(panel, name)
            colour = COLOURS.get(wanted.get("color", {}).get("fixedColor"), PALETTE[number % len(PALETTE)])
            right = wanted.get("custom.axisPlacement") == "right"
            shown.append((name, colour, points, (wanted.get("unit", "short"), wanted.get("max")) if right else None))
        if not any(value for _, points in found for _, value in points):
            self.said.append(f"{panel['title']}: nothing but zero")
        names = [name for name, _ in found]
        for name in {name for name in names if names.count(name) > 1 or not name}:
            self.said.append(f"{panel['title']}: several series are called {name!r}")
        # Grafana gives the legend a third of the panel; what has no room is scrolled to.
        letters = sum(len(name) * 7 + 31 for name in names)
        room = min(18 * (1 + letters // (width - 16)), int(height * 0.35))
        if 18 * (1 + letters // (width - 16)) > room:
            self.said.append(f"{panel['title']}: a legend of {len(names)} names has no room")
        unit = "count" if defaults.get("decimals") == 0 else defaults.get("unit", "short")
        drawn = curves([one[1:] for one in shown], width, height - room, self.theme, unit, self.answers.span,
                       defaults["custom"]["stacking"]["mode"] == "normal", defaults.get("max"))
        items = "".join(
            f"<span><i style='background:{colour}'></i>{html.escape(name)}</span>" for name, colour, *_ in shown
        )
        return f"{drawn}<div class=legend style='height:{room}px'>{items}</div>"

    def stat(self, panel, width, height):
        defaults = panel["fieldConfig"]["defaults"]
        found = self.answers.series(panel["targets"][0]["expr"])
        points = found[0][1] if found else []
        value = points[-1][1] if points else None
        colour = "text"
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is None or (value is not None and value >= step["value"]):
                colour = step["color"]
        text = written(value, defaults["unit"], defaults.get("decimals"))
        if value is None:
            text = defaults.get("noValue", "No data")
            self.said.append(f"{panel['title']}: no data")
        size = min(44, int(width / max(3, len(text)) * 1.35))
        behind = spark(points, width, height * 0.45, COLOURS[colour]) if len(points) > 1 else ""
        style = f"color:{COLOURS[colour]};font-size:{size}px"
        return f"<div class=number>{behind}<b style='{style}'>{html.escape(text)}</b></div>"

    def table(self, panel, _, height):
        columns, rows = merged(panel, self.answers)
        if not rows:
            return self.empty(panel)
        room = height // 30 - 1
        if len(rows) > room:
            self.said.append(f"{panel['title']}: {len(rows)} rows, room for {room}")

        def cell(row, name):
            value, form = row.get(name), overridden(panel, name)
            if isinstance(value, float):
                text = written(value, form.get("unit", "short"), form.get("decimals"))
                return f"<td class=n>{html.escape(text)}</td>"
            return f"<td>{html.escape(value or '')}</td>"

        numbers = {name for row in rows for name, value in row.items() if isinstance(value, float)}
        head = "".join(f"<th{' class=n' * (name in numbers)}>{html.escape(name)}</th>" for name in columns)
        lines = "".join(f"<tr>{''.join(cell(row, name) for name in columns)}</tr>" for row in rows)
        return f"<table><tr>{head}</tr>{lines}</table>"

    def heatmap(self, panel, width, height):
        found = self.answers.series(panel["targets"][0]["expr"])
        buckets = sorted((float(labels["le"].replace("+Inf", "inf")), points) for labels, points in found)
        if not any(value for _, points in buckets for _, value in points):
            return self.empty(panel)
        return heatmap(buckets, width, height, self.theme, panel["options"]["yAxis"]["unit"], self.answers.span)
