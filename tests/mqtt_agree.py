"""Has everybody of a session agree, as soon as three of them are there: `mqtt_agree.py PORT`."""

import asyncio
import sys

import aiomqtt


async def main(port: int) -> None:
    """By their readings one knows who is there, also before they are read."""
    agreed: set[str] = set()
    async with asyncio.timeout(200), aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("attuned/+/session/+/participant/+/emotion")
        async for message in client.messages:
            topic = str(message.topic)
            if not topic.endswith("/emotion"):
                continue  # amqtt gives new subscribers retained messages that they did not ask for
            if topic not in agreed:
                agreed.add(topic)
                await client.publish(topic.replace("/emotion", "/consent/set"), b"granted", qos=1)
            if len(agreed) == 3:
                return


asyncio.run(main(int(sys.argv[1])))
