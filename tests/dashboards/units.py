"""Numbers as Grafana writes them, for the units that the dashboards use."""

import math


def scaled(value, steps, decimals):
    """`steps`: [(factor, name), …] from the largest down."""
    for factor, name in steps:
        if abs(value) >= factor:
            return number(value / factor, decimals), name
    factor, name = steps[-1]
    return number(value / factor, decimals), name


def number(value, decimals):
    if decimals is None:
        decimals = 0 if value == int(value) else max(0, 2 - int(math.floor(math.log10(abs(value)))))
        decimals = min(decimals, 3)
        return f"{value:.{decimals}f}".rstrip("0").rstrip(".") if decimals else f"{value:.0f}"
    return f"{value:.{decimals}f}"


COUNTS = [(1e9, " Bil"), (1e6, " Mil"), (1e3, " K"), (1, "")]
SECONDS = [(31536000, " years"), (604800, " weeks"), (86400, " days"), (3600, " hours"), (60, " mins"), (1, " s"),
           (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")]
BYTES = [(2**40, " TiB"), (2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B")]
RATES = [(10**9, " GB/s"), (10**6, " MB/s"), (10**3, " kB/s"), (1, " B/s")]


def written(value, unit="short", decimals=None):
    """The number with its unit."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    if value == 0:
        zero = {"s": " s", "bytes": " B", "Bps": " B/s", "percentunit": "%"}
        return "0" + zero.get(unit, f" {unit}/s" if unit == "ops" else "")
    if unit == "percentunit":
        return number(value * 100, decimals if decimals is not None else (1 if value < 0.1 else 0)) + "%"
    if unit == "none":
        return number(value, decimals)
    steps = {"s": SECONDS, "bytes": BYTES, "Bps": RATES}.get(unit, COUNTS)
    if steps is COUNTS and abs(value) < 1:
        text = number(value, decimals)
    else:
        text = "".join(scaled(value, steps, decimals))
    return text + {"ops": " ops/s", "cps": " c/s"}.get(unit, "")
