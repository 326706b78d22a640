"""A sensor in Python, with nothing but its standard library: python3 sensor.py [URL]

Each reading is tried again until it is stored. What the agent has answered `stored` is safe.
"""

import json
import random
import sys
import time
import urllib.error
import urllib.request

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:9998/kitchen/temperature"
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 0


def send(reading: dict) -> int:
    """Hands over one reading, and gives its number."""
    request = urllib.request.Request(URL, json.dumps(reading).encode(), {"content-type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["stored"]
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise SystemExit(f"refused: {error.read().decode()}")
            wait = error.headers.get("retry-after", "1")
            print(f"busy, again in {wait} s: {error.read().decode()}", file=sys.stderr)
            time.sleep(float(wait))
        except OSError as error:
            print(f"no agent, again in 1 s: {error}", file=sys.stderr)
            time.sleep(1)


number = 0
while COUNT == 0 or number < COUNT:
    number += 1
    print("stored as", send({"t": round(20 + random.random(), 2), "n": number}), flush=True)
    time.sleep(0 if COUNT else 10)
