"""Drives the emulator with discord.py: what an ordinary bot does, over REST and the gateway.

Usage: discord_py.py BASE_URL TOKEN MEMBER_TOKEN GUILD_ID CHANNEL_ID zlib|zstd
Prints "done" and exits 0 when everything was as discord.py expects it.
"""

import asyncio
import io
import sys

BASE, TOKEN, MEMBER_TOKEN, GUILD, CHANNEL, COMPRESS = sys.argv[1:]
if COMPRESS == "zlib":
    # Makes discord.py fall back from zstd.
    sys.modules["zstandard"] = None
    sys.modules["compression.zstd"] = None

import aiohttp
import discord
import yarl

discord.http.Route.BASE = BASE + "/api/v10"
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(BASE.replace("http", "ws") + "/gateway")

PAYLOAD = bytes(range(256)) * 1000


class Bot(discord.Client):
    def __init__(self):
        super().__init__(intents=discord.Intents.default())
        self.seen = asyncio.Queue()
        self.failure = None

    async def on_ready(self):
        asyncio.get_running_loop().create_task(self.guarded())

    async def guarded(self):
        try:
            await self.play()
        except BaseException as error:
            self.failure = error
        finally:
            await self.close()

    async def on_message(self, message):
        await self.seen.put(("message", message))

    async def on_message_edit(self, _before, after):
        await self.seen.put(("edit", after))

    async def on_message_delete(self, message):
        await self.seen.put(("delete", message))

    async def on_thread_create(self, thread):
        await self.seen.put(("thread", thread))

    async def on_guild_channel_create(self, channel):
        await self.seen.put(("channel", channel))

    async def on_raw_bulk_message_delete(self, payload):
        await self.seen.put(("bulk", payload))

    async def on_resumed(self):
        await self.seen.put(("resumed", None))

    async def expect(self, kind, matches=lambda thing: True):
        """Waits for an event; others are dropped."""
        while True:
            name, thing = await asyncio.wait_for(self.seen.get(), 30)
            if name == kind and matches(thing):
                return thing

    async def play(self):
        channel = await self.messages()
        await self.threads(channel)
        await self.foreign(channel)
        await self.resume(channel)

    async def messages(self):
        guild = self.get_guild(int(GUILD))
        channel = self.get_channel(int(CHANNEL))
        assert guild is not None and channel.guild == guild
        assert guild.me.id == self.user.id and guild.premium_tier == 0
        mine = channel.permissions_for(guild.me)
        assert mine.send_messages and mine.attach_files and not mine.administrator

        files = [discord.File(io.BytesIO(PAYLOAD), "a.bin"), discord.File(io.BytesIO(b""), "b.bin")]
        embed = discord.Embed(title="t", description="d").add_field(name="n", value="v")
        sent = await channel.send("hello", files=files, embed=embed, nonce=77)
        event = await self.expect("message", lambda message: message.id == sent.id)
        assert event.content == "hello" and len(event.attachments) == 2, event.attachments
        assert event.nonce == "77", "discord.py sends it as a string"
        fetched = await channel.fetch_message(sent.id)
        assert await fetched.attachments[0].read() == PAYLOAD
        assert await fetched.attachments[1].read() == b""
        assert fetched.embeds[0].fields[0].value == "v"

        await sent.edit(content="changed")
        edited = await self.expect("edit", lambda message: message.content == "changed")
        assert edited.edited_at is not None and len(edited.attachments) == 2
        await sent.pin()
        assert [pin.id async for pin in channel.pins()] == [sent.id]
        await sent.unpin()
        await sent.add_reaction("\N{THUMBS UP SIGN}")
        assert (await channel.fetch_message(sent.id)).reactions[0].me

        # More than one window of the rate limit, so that discord.py reads the headers.
        many = [await channel.send(str(n)) for n in range(12)]
        listed = [message.id async for message in channel.history(limit=12)]
        assert listed == [message.id for message in reversed(many)]
        oldest = [message.id async for message in channel.history(limit=None, oldest_first=True)]
        assert oldest == sorted(oldest) and len(oldest) == 14
        await channel.delete_messages(many)
        assert len((await self.expect("bulk")).message_ids) == 12
        await sent.delete()
        await self.expect("delete", lambda message: message.id == sent.id)
        try:
            await channel.fetch_message(sent.id)
            raise AssertionError("a deleted message is there")
        except discord.NotFound as error:
            assert error.code == 10008
        return channel

    async def threads(self, channel):
        made = await channel.guild.create_text_channel("archives", topic="t")
        await self.expect("channel", lambda one: one.id == made.id)
        card = await made.send("card")
        thread = await card.create_thread(name="packs", auto_archive_duration=60)
        assert thread.id == card.id
        await self.expect("thread", lambda one: one.id == thread.id)
        await thread.send(file=discord.File(io.BytesIO(b"pack"), "p.bin"))
        await thread.edit(archived=True)
        archived = [one.id async for one in made.archived_threads()]
        assert archived == [thread.id]
        await thread.send("wakes it")
        assert [one.id for one in await channel.guild.active_threads()] == [thread.id]
        await thread.delete()
        await made.delete()

    async def say_as_member(self, content):
        url = f"{BASE}/api/v10/channels/{CHANNEL}/messages"
        headers = {"Authorization": MEMBER_TOKEN}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.post(url, json={"content": content}) as answer:
                assert answer.status == 200, await answer.text()
                return int((await answer.json())["id"])

    async def foreign(self, channel):
        said = await self.say_as_member("not for bots")
        message = await self.expect("message", lambda one: one.id == said)
        assert message.content == "" and message.author.name == "member"
        said = await self.say_as_member(f"for <@{self.user.id}>")
        message = await self.expect("message", lambda one: one.id == said)
        assert self.user in message.mentions and message.content

    async def resume(self, channel):
        # A close code other than 1000 and 1001 keeps the session.
        await self.ws.socket.close(code=4000)
        sent = await channel.send("while away")
        # It may be back before the message is sent: either order is right.
        missing = {("message", sent.id), ("resumed", None)}
        while missing:
            name, thing = await asyncio.wait_for(self.seen.get(), 30)
            missing.discard((name, getattr(thing, "id", None)))
        sent = await channel.send("back")
        await self.expect("message", lambda one: one.id == sent.id)


async def wrong_token():
    try:
        async with discord.Client(intents=discord.Intents.none()) as client:
            await client.login("MQ.MQ.wrong")
        raise AssertionError("a wrong token was accepted")
    except discord.LoginFailure:
        pass


async def main():
    compression = discord.utils._ActiveDecompressionContext.COMPRESSION_TYPE
    assert compression == f"{COMPRESS}-stream", compression
    await wrong_token()
    bot = Bot()
    async with bot:
        await asyncio.wait_for(bot.start(TOKEN), 120)
    if bot.failure is not None:
        raise bot.failure
    print("done")


asyncio.run(main())
