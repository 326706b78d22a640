#!/usr/bin/env python3
"""Scrapes a page of metrics as Prometheus does, and prints each sample as a line of JSON.

    scrape.py --url URL

Needs the `prometheus_client` package, whose strict parser of OpenMetrics ends with an error on whatever is not valid.
"""

import argparse
import json
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    arguments = parser.parse_args()
    with urllib.request.urlopen(arguments.url, timeout=30) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            print(json.dumps({"name": sample.name, "labels": sample.labels, "value": sample.value}))


if __name__ == "__main__":
    main()
