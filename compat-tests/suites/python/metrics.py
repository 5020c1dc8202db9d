"""Reads a Prometheus page from standard input with Prometheus' own parser; prints name and labels of each sample."""

import sys

from prometheus_client.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    if not family.documentation:
        sys.exit(f"{family.name} has no help text")
    for sample in family.samples:
        print("\t".join([sample.name, *(f"{name}={value}" for name, value in sample.labels.items())]))
