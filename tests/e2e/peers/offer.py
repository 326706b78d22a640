#!/usr/bin/env python3
"""Offers subprotocols to an agent, and prints the one that is selected, or `None`.

    offer.py --url URL --offer NAME,NAME…

Needs the `websockets` package.
"""

import argparse
import asyncio

from websockets.asyncio.client import connect


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--offer", required=True)
    arguments = parser.parse_args()
    async with connect(arguments.url, subprotocols=arguments.offer.split(",")) as connection:
        print(connection.subprotocol)


if __name__ == "__main__":
    asyncio.run(main())
