#!/usr/bin/env python3
"""Scrapes a page of metrics as Prometheus does, and prints each sample as a line of JSON.

    scrape.py --url URL [--text]

With --text it asks for the text format, else for OpenMetrics. Needs the `prometheus_client` package, whose strict parser of
OpenMetrics ends with an error on whatever is not valid.
"""

import argparse
import json
import urllib.request

from prometheus_client import parser as prometheus
from prometheus_client.openmetrics import parser as openmetrics


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--text", action="store_true")
    arguments = parser.parse_args()
    accept = "text/plain;version=0.0.4" if arguments.text else "application/openmetrics-text;version=1.0.0"
    request = urllib.request.Request(arguments.url, headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read().decode()
        kind = answer.headers["content-type"]
    if not kind.startswith(accept.split(";")[0]):
        raise SystemExit(f"asked for {accept}, got {kind}")
    parse = prometheus if arguments.text else openmetrics
    for family in parse.text_string_to_metric_families(text):
        if family.type in ("unknown", "untyped"):
            raise SystemExit(f"{family.name} has no type")
        for sample in family.samples:
            print(json.dumps({"name": sample.name, "labels": sample.labels, "value": sample.value}))


if __name__ == "__main__":
    main()
