#!/usr/bin/env python3
"""Reads dashboards by Grafana's own schema (grafana-foundation-sdk) and says what it does not know.

    schema.py FILE…

The SDK's classes are generated from the schema: what they read and write again is what Grafana keeps. A key that
is lost on the way, or comes back with another value, is a fault.
"""

import json
import sys

from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(given, kept, where):
    if isinstance(given, dict):
        if not isinstance(kept, dict):
            yield f"{where}: {given!r} became {kept!r}"
            return
        for key, value in given.items():
            if key not in kept:
                if value is not None:
                    yield f"{where}.{key} is not in the schema"
            else:
                yield from lost(value, kept[key], f"{where}.{key}")
    elif isinstance(given, list):
        if not isinstance(kept, list) or len(given) != len(kept):
            yield f"{where}: a list of {len(given)} became {kept!r}"
            return
        for number, (one, other) in enumerate(zip(given, kept)):
            yield from lost(one, other, f"{where}[{number}]")
    elif given != kept:
        yield f"{where}: {given!r} became {kept!r}"


def main():
    plugins.register_default_plugins()
    faults = []
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            given = json.load(file)
        kept = json.loads(encoder.JSONEncoder(sort_keys=True).encode(Dashboard.from_json(given)))
        faults += [f"{name}: {fault}" for fault in lost(given, kept, given["uid"])]
    sys.exit("\n".join(faults) or None)


if __name__ == "__main__":
    main()
