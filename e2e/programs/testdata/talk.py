"""Sends texts through a WebSocket and prints what comes back."""
import asyncio
import sys

import websockets


async def talk():
    async with websockets.connect(sys.argv[1], compression="deflate") as socket:
        for text in "one", "two " * 1000, "three":
            await socket.send(text)
            print(await socket.recv() == text, len(text))


asyncio.run(talk())
