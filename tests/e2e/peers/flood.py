#!/usr/bin/env python3
"""A sensor that sends as fast as it can until it is closed or has sent enough, and tells what came of it as JSON.

    flood.py --url URL --count N

Prints {"sent":…,"stored":…,"refused":…,"warnings":…,"code":…,"reason":…}. Needs the `websockets` package.
"""

import argparse
import asyncio
import json

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

totals = {"sent": 0, "stored": 0, "refused": 0, "warnings": 0, "code": None, "reason": None}


async def listen(connection, confirms):
    async for text in connection:
        answer = json.loads(text)
        totals["stored"] += "stored" in answer
        totals["warnings"] += "error" in answer
        totals["refused"] += answer.get("refused", 0)
        if confirms and totals["stored"] + totals["refused"] == totals["wanted"]:
            return


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    arguments = parser.parse_args()
    totals["wanted"] = arguments.count
    async with connect(arguments.url, max_queue=None) as connection:
        listening = asyncio.create_task(listen(connection, "confirm=1" in arguments.url))
        try:
            for number in range(arguments.count):
                await connection.send(str(number))
                totals["sent"] += 1
                # Who never listens hears no warning.
                await asyncio.sleep(0)
            await listening
        # A transport that was closed just now fails so in asyncio.
        except (ConnectionClosed, AttributeError):
            await asyncio.wait([listening])
        if connection.close_code != 1000:
            totals["code"], totals["reason"] = connection.close_code, connection.close_reason
    print(json.dumps(totals))


if __name__ == "__main__":
    asyncio.run(main())
