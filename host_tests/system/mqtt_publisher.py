"""A program for MicroPython: publishes numbered messages with lib/mqtt, as an outlet does, and says what happens.

Its argument is JSON: port, id, and what else is needed of count, pause_ms, retain, will, topic, subscribe, user,
password, close. Each line that it prints is JSON, one of {"state"}, {"up": generation}, {"ack": number},
{"stale": generation}, {"got": [topic, length]} and {"end": stats}.
"""

import asyncio
import json
import sys

from lib.mqtt import Stale
from lib.mqtt.inbound import Subscriber


def say(what, value):
    print(json.dumps({what: value}))


class Publisher:
    def __init__(self, job):
        self.job = job
        self.acked = 0  # numbers below this are acknowledged
        self.client = client = Subscriber(job["id"], "127.0.0.1", job["port"], job.get("user"), job.get("password"))
        client.on_ack = self.acknowledged
        client.set_callback(lambda topic, msg: say("got", [topic.decode(), len(msg)]))
        client.tick_ms = 20
        client.sleep_ms = lambda ms: asyncio.sleep_ms(ms // 5)  # the back-off, for tests that cannot wait
        if "will" in job:
            client.set_last_will(job["will"], "offline", True, 1)

    def acknowledged(self, number):
        assert number == self.acked
        self.acked += 1
        say("ack", number)

    async def run(self):
        if "subscribe" in self.job:
            await self.client.subscribe(self.job["subscribe"])
        asyncio.create_task(self.watch())
        link = asyncio.create_task(self.client.run())
        while self.acked < self.job.get("count", 0):
            generation = await self.client.up()
            try:
                await self.publish(generation)
            except Stale:
                say("stale", generation)
        if self.job.get("close"):
            await self.client.up()
            await self.client.close()
        await link
        say("end", self.client.stats)

    async def watch(self):
        """Say each new state and generation."""
        state, generation = "", 0
        while True:
            if self.client.state != state:
                state = self.client.state
                say("state", state)
            if self.client.generation != generation:
                generation = self.client.generation
                say("up", generation)
            await asyncio.sleep_ms(1)

    async def publish(self, generation):
        """Publish from the first message that is not acknowledged to the last one."""
        job = self.job
        for number in range(self.acked, job["count"]):
            await self.client.publish(
                job.get("topic", "n"), str(number), job.get("retain", False), token=number, generation=generation
            )
            if "pause_ms" in job:
                await asyncio.sleep_ms(job["pause_ms"])
        while self.acked < job["count"]:
            if not self.client.connected or self.client.generation != generation:
                raise Stale
            await asyncio.sleep_ms(1)


asyncio.run(Publisher(json.loads(sys.argv[1])).run())
