"""A panel's curves as an image: lines, stacked areas, the small curve behind one number, a heatmap."""

import base64
import datetime
import io
import math

import matplotlib

matplotlib.use("svg")
import matplotlib.dates  # noqa: E402
import matplotlib.pyplot  # noqa: E402
import numpy  # noqa: E402
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator  # noqa: E402
from units import written  # noqa: E402

# Grafana's names, and its classic palette in order.
COLOURS = {
    "green": "#73bf69", "yellow": "#f2cc0c", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2",
    "purple": "#b877d9", "text": "#8e8e8e",
}
PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d",
           "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477"]
THEMES = {
    "dark": {"page": "#111217", "panel": "#181b1f", "edge": "#2a2d33", "text": "#ccccdc",
             "faint": "#8e919b", "grid": "#2b2e35"},
    "light": {"page": "#f4f5f5", "panel": "#ffffff", "edge": "#e1e3e6", "text": "#24292e",
              "faint": "#646b75", "grid": "#e6e7ea"},
}
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["font.family"] = ["DejaVu Sans"]


def times(points):
    return [datetime.datetime.fromtimestamp(moment, datetime.timezone.utc) for moment in points]


def image(figure):
    """The figure as an element of the page; an inch has 72 of its pixels."""
    text, (width, height) = io.StringIO(), figure.get_size_inches() * 72
    figure.savefig(text, format="svg", transparent=True)
    matplotlib.pyplot.close(figure)
    data = base64.b64encode(text.getvalue().encode()).decode()
    return f'<img alt="" width="{width:.0f}" height="{height:.0f}" src="data:image/svg+xml;base64,{data}">'


def plot(width, height, theme, unit, span, top=None):
    """A figure with axes in Grafana's manner."""
    look = THEMES[theme]
    figure, axes = matplotlib.pyplot.subplots(figsize=(width / 72, height / 72), layout="constrained")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.grid(True, color=look["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=look["faint"], labelsize=11, length=0)
    scale(axes, unit)
    axes.xaxis.set_major_locator(matplotlib.dates.AutoDateLocator(minticks=2, maxticks=max(3, width // 110)))
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M:%S"))
    axes.set_xlim(*times(span))
    if top is not None:
        axes.set_ylim(0, top)
    return figure, axes


def scale(axes, unit):
    """The marks of the vertical axis: of round numbers."""
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=unit == "count"))
    name = "short" if unit == "count" else unit
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, name)))


def curves(series, width, height, theme, unit, span, stack, top=None):
    """`series`: [(colour, [(moment, value), …], other), …], where `other` is None, or the unit and the end of the
    axis on the right."""
    figure, left = plot(width, height, theme, unit, span, top)
    moments = sorted({moment for _, points, _ in series for moment, _ in points})
    below = numpy.zeros(len(moments))
    right = None
    for colour, points, other in series:
        axes = left
        if other:
            if right is None:
                right = left.twinx()
                right.tick_params(colors=THEMES[theme]["faint"], labelsize=11, length=0)
                for side in right.spines.values():
                    side.set_visible(False)
                scale(right, other[0])
            axes = right
        found = dict(points)
        values = numpy.array([found.get(moment, numpy.nan) for moment in moments], dtype=float)
        if stack:
            upper = below + numpy.nan_to_num(values)
            axes.fill_between(times(moments), below, upper, color=colour, alpha=0.25, linewidth=0)
            axes.plot(times(moments), numpy.where(numpy.isnan(values), numpy.nan, upper), color=colour, linewidth=1.2)
            below = upper
        else:
            axes.fill_between(times(moments), values, color=colour, alpha=0.08, linewidth=0)
            axes.plot(times(moments), values, color=colour, linewidth=1.2)
    top_right = max((other[1] or 0 for _, _, other in series if other), default=0)
    for axes, mine, end in (
        (left, [points for _, points, other in series if not other], top),
        (right, [points for _, points, other in series if other], top_right),
    ):
        if axes is not None:
            if unit == "bytes" and mine:
                most = max((value for points in mine for _, value in points), default=1) or 1
                axes.yaxis.set_major_locator(MultipleLocator(2.0 ** round(math.log2(most / 4))))
            highest = end or max((value for points in mine for _, value in points), default=0) * 1.1
            if not stack or end or axes is right:
                axes.set_ylim(0, highest or 1)
            else:
                axes.set_ylim(0, axes.get_ylim()[1] if below.any() else 1)
    return image(figure)


def spark(points, width, height, colour):
    """The area behind a single number."""
    figure = matplotlib.pyplot.figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    moments, values = times([moment for moment, _ in points]), [value for _, value in points]
    axes.fill_between(moments, min([0, *values]), values, color=colour, alpha=0.2, linewidth=0)
    axes.plot(moments, values, color=colour, linewidth=1)
    axes.margins(0, 0.05)
    return image(figure)


def heatmap(buckets, width, height, theme, unit, span):
    """`buckets`: [(upper bound, [(moment, count up to it), …]), …] from the lowest up, as Prometheus counts them."""
    figure, axes = plot(width, height, theme, unit, span)
    moments = sorted({moment for _, points in buckets for moment, _ in points})
    rows, lower = [], numpy.zeros(len(moments))
    for _, points in buckets:
        found = dict(points)
        row = numpy.array([found.get(moment, 0.0) for moment in moments])
        rows.append(numpy.maximum(row - lower, 0))
        lower = row
    cells = numpy.ma.masked_less_equal(numpy.array(rows), 1e-9)
    edges = numpy.arange(len(buckets) + 1)
    scheme = "Oranges_r" if theme == "dark" else "Oranges"
    step = moments[1] - moments[0] if len(moments) > 1 else 1
    axes.pcolormesh(times([*moments, moments[-1] + step]), edges, cells ** 0.5, cmap=scheme, shading="flat")
    every = max(1, len(buckets) // 8)
    axes.set_yticks([n + 0.5 for n in range(0, len(buckets), every)])
    bounds = [bound for bound, _ in buckets]
    marks = FuncFormatter(lambda value, _: written(bounds[min(int(value), len(bounds) - 1)], unit))
    axes.yaxis.set_major_formatter(marks)
    return image(figure)
