#!/usr/bin/env python3
"""A sensor that sends some messages over a WebSocket and tells what came of them.

    speaker.py --url URL --count N [--origin ORIGIN]

With `confirm=1` in the url it prints `stored N`. A handshake that is refused is printed as `refused STATUS`.
Needs the `websockets` package.
"""

import argparse
import asyncio
import json

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--origin")
    arguments = parser.parse_args()
    try:
        async with connect(arguments.url, origin=arguments.origin) as connection:
            for number in range(arguments.count):
                await connection.send(str(number))
            answers = [json.loads(await connection.recv()) for _ in range(arguments.count)]
            print("stored", sum("stored" in answer for answer in answers))
    except InvalidStatus as refusal:
        print("refused", refusal.response.status_code)


if __name__ == "__main__":
    asyncio.run(main())
