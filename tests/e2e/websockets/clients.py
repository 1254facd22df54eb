"""Opens WebSockets that send 2 kB each 5 ms. Prints `all echo` once each has an answer, and `closed CODE` for each."""

import asyncio
import sys

import websockets


async def send(socket):
    while True:
        await socket.send("x" * 2000)
        await asyncio.sleep(0.005)


async def client(url, echoing):
    async with websockets.connect(url) as socket:
        sending = asyncio.create_task(send(socket))
        await socket.recv()
        echoing.release()
        try:
            async for _ in socket:
                pass
        except websockets.ConnectionClosed:
            pass
        sending.cancel()
    print(f"closed {socket.close_code}", flush=True)


async def main():
    url, count = sys.argv[1], int(sys.argv[2])
    echoing = asyncio.Semaphore(0)
    clients = [asyncio.create_task(client(url, echoing)) for _ in range(count)]
    for _ in clients:
        await echoing.acquire()
    print("all echo", flush=True)
    await asyncio.gather(*clients)


asyncio.run(main())
