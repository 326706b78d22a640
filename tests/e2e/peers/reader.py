#!/usr/bin/env python3
"""Connects to an agent as one who reads, and prints what it gets.

    reader.py --url URL [--header NAME=VALUE]… [--send TEXT]

Needs the `websockets` package. Prints `open`, then each frame as a line, then `closed CODE REASON`; or `refused STATUS BODY`.
"""

import argparse
import asyncio

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def read(arguments):
    headers = [tuple(header.split("=", 1)) for header in arguments.header]
    async with connect(arguments.url, additional_headers=headers, ping_interval=None, max_size=None) as connection:
        print("open")
        if arguments.send is not None:
            await connection.send(arguments.send)
        try:
            while True:
                print(await connection.recv())
        except ConnectionClosed as end:
            print("closed", f"{end.rcvd.code} {end.rcvd.reason}" if end.rcvd else "cut")


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--send")
    try:
        await read(parser.parse_args())
    except InvalidStatus as refused:
        print("refused", refused.response.status_code, refused.response.body.decode())


if __name__ == "__main__":
    asyncio.run(main())
