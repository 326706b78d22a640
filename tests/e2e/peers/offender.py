#!/usr/bin/env python3
"""A sensor that sends one frame it should not send, and prints the code with which it is closed.

    offender.py --url URL --text-bytes N | --invalid-text

Needs the `websockets` package.
"""

import argparse
import asyncio

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--text-bytes", type=int, help="a text of so many bytes")
    parser.add_argument("--invalid-text", action="store_true", help="a text frame that is not UTF-8")
    arguments = parser.parse_args()
    frame = b"\xff\xfe" if arguments.invalid_text else b"x" * arguments.text_bytes
    async with connect(arguments.url) as connection:
        try:
            await connection.send(frame, text=True)
            await connection.recv()
            print("answered")
        except ConnectionClosed as end:
            print(end.rcvd.code if end.rcvd else "cut")


if __name__ == "__main__":
    asyncio.run(main())
