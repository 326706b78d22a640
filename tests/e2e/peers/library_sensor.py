#!/usr/bin/env python3
"""A sensor as people write it with a library that is no part of Holdfast: sends numbered messages and prints each answer.

    library_sensor.py --library websocket-client|aiohttp --url URL --count N [--subprotocol NAME]

aiohttp sends one more message by POST, in chunks and gzip, to the same path. Prints `subprotocol NAME` first.
"""

import argparse
import asyncio

import aiohttp
import websocket


def by_websocket_client(arguments):
    offered = [arguments.subprotocol] if arguments.subprotocol else None
    connection = websocket.create_connection(arguments.url, timeout=30, subprotocols=offered)
    print(f"subprotocol {connection.getsubprotocol()}")
    for number in range(arguments.count):
        connection.send(f"m-{number}")
        print(connection.recv())
    connection.close()


async def in_chunks():
    yield b"by "
    yield b"POST"


async def by_aiohttp(arguments):
    offered = [arguments.subprotocol] if arguments.subprotocol else []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        async with session.ws_connect(arguments.url, protocols=offered, heartbeat=1, compress=15) as connection:
            print(f"subprotocol {connection.protocol}")
            for number in range(arguments.count):
                await connection.send_str(f"m-{number}")
                print(await connection.receive_str())
        url = arguments.url.replace("ws://", "http://", 1).split("?")[0]
        async with session.post(url, data=in_chunks(), compress="gzip", headers={"Content-Type": "text/plain"}) as answer:
            print(await answer.text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True, choices=["websocket-client", "aiohttp"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--subprotocol")
    arguments = parser.parse_args()
    if arguments.library == "aiohttp":
        asyncio.run(by_aiohttp(arguments))
    else:
        by_websocket_client(arguments)


if __name__ == "__main__":
    main()
