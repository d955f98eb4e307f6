"""Writes down every message of a broker, from before anything is published until `offline`: `mqtt_ear.py PORT`.

A JSON object a line: topic and payload, as text. In a process of its own, so that it can live in a network namespace.
"""

import asyncio
import json
import sys
import time

import aiomqtt

PATIENCE_S = 300.0


async def main(port: int) -> None:
    """Connects as soon as somebody listens."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            async with aiomqtt.Client("127.0.0.1", port) as client:
                await client.subscribe("#", qos=1)
                tell({"listening": True})
                async for message in client.messages:
                    tell({"topic": str(message.topic), "payload": bytes(message.payload).decode()})  # type: ignore[arg-type]
                    if str(message.topic).endswith("/availability") and message.payload == b"offline":
                        return
        except (OSError, aiomqtt.MqttError):
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.02)


def tell(line: dict[str, object]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


asyncio.run(main(int(sys.argv[1])))
