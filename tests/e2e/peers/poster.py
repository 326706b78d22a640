"""Posts what the standard library codes: gzip, zlib and bare deflate, UTF-16, and one after the other. Prints each status."""

import argparse
import gzip
import json
import urllib.error
import urllib.request
import zlib

arguments = argparse.ArgumentParser()
arguments.add_argument("--url", required=True)
url = arguments.parse_args().url


def bare(body):
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(body) + coder.flush()


def post(body, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, names), timeout=30) as answer:
            print(answer.status, answer.read().decode(), flush=True)
    except urllib.error.HTTPError as error:
        print(error.code, error.headers.get("accept-encoding"), error.read().decode(), flush=True)


def reading(name):
    return json.dumps({"coded": name}).encode()


JSON = "application/json"
post(gzip.compress(reading("gzip")), content_encoding="gzip", content_type=JSON)
post(zlib.compress(reading("zlib")), content_encoding="deflate", content_type=JSON)
post(bare(reading("bare")), content_encoding="deflate", content_type=JSON)
post(gzip.compress(zlib.compress(reading("both"))), content_encoding="deflate, gzip", content_type=JSON)
post(reading("utf-16").decode().encode("utf-16"), content_type="application/json; charset=utf-16")
post("21 °C".encode("latin1"), content_type="text/plain; charset=iso-8859-1")
post(gzip.compress(b'{"line":1}\n{"line":2}\n'), content_encoding="gzip", content_type="application/jsonl")
post(b"\x28\xb5\x2f\xfd", content_encoding="zstd", content_type=JSON)
post(gzip.compress(bytes(50 << 20)), content_encoding="gzip")
