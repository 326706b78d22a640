#!/usr/bin/env python3
"""A sensor that publishes numbered messages over MQTT and keeps what was acknowledged.

    mqtt_sensor.py --port N --stored FILE --prefix P [--qos 1] [--version 4] [--in-flight 20] [--transport tcp]

Needs the `paho-mqtt` package, which connects again and sends again what is not acknowledged. Each message that was acknowledged (PUBACK, or
PUBCOMP with QoS 2) becomes a line of STORED, flushed at once. Publishes until its standard input ends, and prints `done` once all is
acknowledged.
"""

import argparse
import sys
import threading
import time

import paho.mqtt.client as mqtt

PAUSE_S = 0.01
NO_PACKET_ID = 0x92


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stored", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--qos", type=int, default=1)
    parser.add_argument("--version", type=int, default=mqtt.MQTTv311)
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--transport", default="tcp", help="tcp or websockets")
    arguments = parser.parse_args()

    is_5 = arguments.version == mqtt.MQTTv5
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=f"sensor-{arguments.prefix}",
        clean_session=None if is_5 else False,
        protocol=arguments.version,
        transport=arguments.transport,
    )
    client.reconnect_delay_set(min_delay=0.05, max_delay=0.2)
    client.max_inflight_messages_set(arguments.in_flight)
    waiting = {}
    # Acknowledged before `publish` has returned its identifier. The client has locks of its own, so ours is never held while it is called.
    early = set()
    lock = threading.Lock()
    with open(arguments.stored, "a", encoding="utf-8") as stored:

        def keep(payload):
            stored.write(payload + "\n")
            stored.flush()

        def acknowledged(_client, _userdata, mid, reason, _properties):
            # A PUBREL that finds its session gone: the PUBREC came before.
            is_released = arguments.qos == 2 and reason.value == NO_PACKET_ID
            if reason.is_failure and not is_released:
                print(f"refused {mid}: {reason}", flush=True)
                return
            with lock:
                if mid in waiting:
                    keep(waiting.pop(mid))
                else:
                    early.add(mid)

        client.on_publish = acknowledged
        properties = mqtt.Properties(mqtt.PacketTypes.CONNECT) if is_5 else None
        if is_5:
            properties.SessionExpiryInterval = 3600
        client.connect_async("127.0.0.1", arguments.port, keepalive=10, clean_start=False, properties=properties)
        client.loop_start()
        ended = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        number = 0
        while not ended.is_set() or waiting:
            if not ended.is_set() and len(waiting) < 2 * arguments.in_flight:
                payload = f"{arguments.prefix}{number}"
                mid = client.publish("pump/t", payload, arguments.qos).mid
                with lock:
                    if mid in early:
                        early.remove(mid)
                        keep(payload)
                    else:
                        waiting[mid] = payload
                number += 1
            else:
                time.sleep(PAUSE_S)
        print("done", flush=True)


if __name__ == "__main__":
    main()
