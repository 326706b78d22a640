#!/usr/bin/env python3
"""Validates TOML files by a JSON Schema: by_schema.py SCHEMA FILE...

Needs the `jsonschema` package. Prints a line `FILE: PATH: MESSAGE` for each fault, and ends with 1 if there is any.
"""

import json
import sys
import tomllib

import jsonschema

schema = json.load(open(sys.argv[1], encoding="utf-8"))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
faults = 0
for name in sys.argv[2:]:
    with open(name, "rb") as file:
        document = tomllib.load(file)
    for error in sorted(validator.iter_errors(document), key=lambda error: error.json_path):
        faults += 1
        print(f"{name}: {error.json_path}: {error.message[:300]}", flush=True)
sys.exit(1 if faults else 0)
