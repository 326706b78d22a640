"""A receiver in FastAPI that acknowledges: pip install fastapi 'uvicorn[standard]', then

    uvicorn receiver_fastapi:app --port 9000

and in the gateway's configuration: url = "ws://HOST:9000/ingest", framing = "envelope", confirm = "ack".
"""

import json

from fastapi import FastAPI, WebSocket

app = FastAPI()
# The next number that is expected of each epoch. In earnest it lies in the same transaction as the messages.
expected: dict[str, int] = {}


def store(message: dict) -> None:
    """What is yours to do. A message is acknowledged only once this has returned."""
    print(message["topic"], message.get("data"), flush=True)


@app.websocket("/ingest")
async def ingest(socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocol="holdfast.v1" if "holdfast.v1" in offered else None)
    async for text in socket.iter_text():
        frame = json.loads(text)
        if "hello" in frame:
            epoch = frame["hello"]["epoch"]
            expected.setdefault(epoch, frame["hello"]["first"])
        elif "gap" in frame:
            epoch = frame["gap"]["epoch"]
            print("lost:", frame["gap"], flush=True)
            expected[epoch] = max(expected[epoch], frame["gap"]["to"] + 1)
        else:
            epoch = frame["epoch"]
            for message in frame["messages"]:
                # What was seen before comes again after a cut, and is skipped.
                if message["seq"] >= expected[epoch]:
                    store(message)
                    expected[epoch] = message["seq"] + 1
        await socket.send_json({"ack": expected[epoch] - 1, "epoch": epoch})
