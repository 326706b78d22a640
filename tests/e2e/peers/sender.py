#!/usr/bin/env python3
"""A sensor that sends numbered messages over a WebSocket and wants each confirmed.

    sender.py --target FILE --stored FILE --prefix P [--in-flight N]

Needs the `websockets` package. TARGET holds the url; it is read again before each connection. What was confirmed as
stored becomes a line of STORED, flushed at once. Prints `closed CODE` at the end of each connection. A number is sent once, whatever becomes of it. Ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import collections
import json
import os
import signal

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

PAUSE_S = 0.01


class Sender:
    def __init__(self, arguments, stored):
        self.arguments = arguments
        self.stored = stored
        self.next = 0

    async def run(self):
        while True:
            try:
                with open(self.arguments.target, encoding="utf-8") as target:
                    url = target.read()
                async with connect(url, open_timeout=5, close_timeout=1) as connection:
                    await self.send(connection)
            except ConnectionClosed as end:
                print(f"closed {end.rcvd.code if end.rcvd else None}", flush=True)
            except (OSError, WebSocketException, TimeoutError, EOFError):
                await asyncio.sleep(PAUSE_S)

    async def send(self, connection):
        waiting = collections.deque()
        while True:
            while len(waiting) < self.arguments.in_flight:
                payload = f"{self.arguments.prefix}{self.next}"
                self.next += 1
                waiting.append(payload)
                await connection.send(payload)
            answer = json.loads(await connection.recv())
            if isinstance(answer.get("stored"), int):
                self.stored.write(waiting.popleft() + "\n")
                self.stored.flush()
            else:
                raise EOFError(answer)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--stored", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--in-flight", type=int, default=1)
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, os._exit, 0)
    with open(arguments.stored, "a", encoding="utf-8") as stored:
        await Sender(arguments, stored).run()


if __name__ == "__main__":
    asyncio.run(main())
