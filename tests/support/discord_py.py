"""Drives the emulator with discord.py: what an ordinary bot does, over REST and the gateway.

Usage: discord_py.py BASE_URL TOKEN MEMBER_TOKEN GUILD_ID CHANNEL_ID MEMBER_ID zlib|zstd
Prints "done" and exits 0 when everything was as discord.py expects it.
"""

import asyncio
import io
import json
import sys

BASE, TOKEN, MEMBER_TOKEN, GUILD, CHANNEL, MEMBER, COMPRESS = sys.argv[1:]
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
        self.tree = discord.app_commands.CommandTree(self)
        self.failure = None
        self.newest = None

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
        await self.commands(channel)
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

    async def act(self, deed, body, files=()):
        """The member acts, and gets to know what came of it."""
        url = f"{BASE}/_control/people/{MEMBER}/channels/{CHANNEL}/{deed}"
        form = aiohttp.FormData()
        form.add_field("payload_json", json.dumps(body), content_type="application/json")
        for at, (name, content) in enumerate(files):
            form.add_field(f"files[{at}]", content, filename=name)
        async with aiohttp.ClientSession() as session:
            async with session.post(url, data=form) as answer:
                assert answer.status == 200, await answer.text()
                told = await answer.json()
        assert told["state"] == "answered", told
        self.newest = told["interaction"]
        return told["answer"]

    def register(self):
        app_commands = discord.app_commands
        me = self

        @self.tree.command(description="Says how it is")
        async def status(interaction: discord.Interaction):
            assert interaction.user.id == int(MEMBER) and interaction.guild_id == int(GUILD)
            assert interaction.permissions.send_messages and not interaction.permissions.manage_guild
            assert interaction.app_permissions.manage_channels
            await interaction.response.send_message("fine", ephemeral=True)
            again = await interaction.original_response()
            assert again.flags.ephemeral and again.content == "fine"
            await interaction.edit_original_response(content="very fine")

        @self.tree.command(description="Takes a file")
        @app_commands.describe(file="What to take", where="Into which channel", times="How often")
        async def take(interaction: discord.Interaction, file: discord.Attachment,
                       where: discord.TextChannel, whom: discord.Member, times: app_commands.Range[int, 1, 5] = 1):
            await interaction.response.defer(thinking=True)
            content = await file.read()
            assert where.id == int(CHANNEL) and whom.id == int(MEMBER) and times == 3
            back = discord.File(io.BytesIO(content), "back.bin")
            first = await interaction.edit_original_response(content="took it", attachments=[back])
            assert first.attachments[0].size == len(content)
            second = await interaction.followup.send("and more", wait=True)
            await second.edit(content="and less")
            third = await interaction.followup.send("only you", ephemeral=True, wait=True)
            await third.delete()
            await me.seen.put(("taken", (first, second)))

        @self.tree.command(description="Finds something")
        async def find(interaction: discord.Interaction, what: str):
            view = discord.ui.View()
            button = discord.ui.Button(label="More", custom_id="more")
            select = discord.ui.Select(custom_id="pick", options=[discord.SelectOption(label="a"), discord.SelectOption(label="b")])

            async def pressed(interaction):
                await interaction.response.edit_message(content="pressed", view=view)

            async def chosen(interaction):
                assert select.values == ["b"]

                class Describe(discord.ui.Modal, title="Describe"):
                    text = discord.ui.TextInput(label="Text")

                    async def on_submit(self, interaction):
                        await interaction.response.send_message(f"described as {self.text.value}")

                await interaction.response.send_modal(Describe())

            button.callback, select.callback = pressed, chosen
            view.add_item(button)
            view.add_item(select)
            await interaction.response.send_message(f"found {what}", view=view)

        @find.autocomplete("what")
        async def offers(interaction: discord.Interaction, current: str):
            return [app_commands.Choice(name=f"{current} one", value="one")]

        group = app_commands.Group(name="config", description="Settings", default_permissions=discord.Permissions(manage_guild=True))

        @group.command(description="Shows one")
        async def get(interaction: discord.Interaction, name: str):
            await interaction.response.send_message(name)

        self.tree.add_command(group)

    async def commands(self, channel):
        self.register()
        made = await self.tree.sync()
        assert {one.name for one in made} == {"status", "take", "find", "config"}
        assert [one.name for one in await self.tree.fetch_commands()] == [one.name for one in made]
        self.tree.copy_global_to(guild=channel.guild)
        assert len(await self.tree.sync(guild=channel.guild)) == 4
        self.tree.clear_commands(guild=channel.guild)
        assert await self.tree.sync(guild=channel.guild) == []

        answer = await self.act("commands", {"command": "status"})
        assert answer["ephemeral"], answer
        options = {"file": 0, "where": CHANNEL, "whom": MEMBER, "times": 3}
        answer = await self.act("commands", {"command": "take", "options": options}, [("a.bin", PAYLOAD)])
        assert answer["type"] == 5
        first, second = await self.expect("taken")
        kept = await channel.fetch_message(first.id)
        assert kept.content == "took it" and await kept.attachments[0].read() == PAYLOAD
        assert kept.interaction_metadata.user.id == int(MEMBER)
        kept = await channel.fetch_message(second.id)
        assert kept.content == "and less" and kept.reference.message_id == first.id

        typed = {"command": "find", "options": {"what": "part"}, "focused": "what"}
        answer = await self.act("completions", typed)
        assert answer["choices"] == [{"name": "part one", "value": "one"}], answer
        found = await self.act("commands", {"command": "find", "options": {"what": "one"}})
        click = {"message": found["message"], "custom_id": "more"}
        await self.act("clicks", click)
        assert (await channel.fetch_message(int(found["message"]))).content == "pressed"
        answer = await self.act("clicks", {**click, "custom_id": "pick", "values": ["b"]})
        assert answer["modal"]["title"] == "Describe"
        field = answer["modal"]["components"][0]["components"][0]["custom_id"]
        # The modal belongs to the newest interaction.
        answer = await self.act("modals", {"interaction": self.newest, "values": {field: "good"}})
        said = await channel.fetch_message(int(answer["message"]))
        assert said.content == "described as good"

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
