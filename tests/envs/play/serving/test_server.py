"""The real server over real sockets, with a game whose pictures tell how they came about."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

from tests.envs.play.fake_game import HEIGHT, WIDTH, FakeGame, forward
from tests.envs.play.serving.pages import Connect, Page, room_of, server_of, serving
from worldsim.envs.play.serving.access import Access
from worldsim.envs.play.serving.messages import (
    BURST,
    FLOOD,
    FULL,
    GOING_AWAY,
    MALFORMED,
    NO_WORLD,
    REPLACED,
    WRONG_TOKEN,
)
from worldsim.envs.play.serving.people import PLACE_KEPT
from worldsim.envs.play.serving.server import WorldServer, serve
from worldsim.envs.play.session import Phase
from worldsim.envs.play.tree.playthrough import Playthrough
from worldsim.errors import UserError

TOKEN = "a token that nobody guesses"


def run(server: WorldServer, scene: Callable[[Connect], Awaitable[None]]) -> None:
    async def play() -> None:
        async with serving(server) as connect:
            await scene(connect)

    asyncio.run(play())


def decoded(data: bytes) -> np.ndarray:
    picture = np.asarray(Image.open(io.BytesIO(data)))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    return picture


async def walks(page: Page, moment: int = 3) -> None:
    """Walk until so many moments were shown."""
    await page.hold()
    await page.hold("forward")
    await page.until(lambda: page.pictures and page.pictures[-1][1] >= moment, f"moment {moment}")


def test_play_pause_go_back_and_branch(tmp_path: Path):
    games: list[FakeGame] = []
    server = server_of(tmp_path, games)

    async def scene(connect: Connect) -> None:
        page = await connect({})
        await page.phase("ready")
        await page.until(lambda: "game" in page.latest and page.pictures)
        about = page.latest["game"]
        assert (about["width"], about["height"], about["title"], about["starts"]) == (WIDTH, HEIGHT, "fake", 5)
        # The first picture is the game's own, and stands.
        room = room_of(server, page)
        shown = room.session.picture()
        assert shown is not None
        np.testing.assert_allclose(decoded(page.pictures[-1][2])[0, 0], shown[0, 0], atol=6)
        assert games[0].steps == 0
        number = await page.hold("forward", "drop", look=(2.0, -10.0))
        await page.phase("playing")
        await page.until(lambda: page.pictures[-1][0] >= number, "a picture that shows the effect")
        # The first chunk has both frames' share of the turn; the key stays down.
        np.testing.assert_allclose(games[0].seen[0][:, -2:], [[1.0, -5.0]] * 2)
        assert games[0].seen[0][:, 0].all()
        await walks(page, 8)
        np.testing.assert_array_equal(games[0].seen[-1], forward())
        await page.hold()
        await page.do("pause")
        await page.phase("paused")
        there = room.session.shown
        await page.until(lambda: page.latest.get("tree", {}).get("here") == [0, there])
        await page.do("earlier")
        await page.until(lambda: page.latest["tree"]["here"] == [0, there - 1])
        await page.send(type="go", stretch=0, depth=2)
        await page.until(lambda: page.latest["tree"]["here"] == [0, 2])
        await page.phase("paused")
        await page.do("resume")
        # A branch is there once it is computed: a pause before it is shown would leave play where it was.
        await page.until(lambda: page.latest["tree"]["here"][0] == 1, "a branch")
        assert len(page.latest["tree"]["lanes"]) == 2
        await page.do("pause")
        await page.phase("paused")
        assert room.session.timeline is not None and room.session.timeline.stretches[1].parent == 2
        assert {one[0] for one in page.latest["tree"]["lanes"]} == {0, 1} and dict(page.latest["tree"]["mine"])[0] == 2

    run(server, scene)


def test_a_frame_says_which_input_it_is_the_first_to_show(tmp_path: Path):
    games: list[FakeGame] = []
    server = server_of(tmp_path, games)

    async def scene(connect: Connect) -> None:
        page = await connect({})
        await page.phase("ready")
        await page.hold("forward")
        for yaw in range(1, 9):
            number = await page.hold("forward", look=(0, 2.0 * yaw))
            await page.until(lambda number=number: page.pictures[-1][0] >= number)
            effect, moment, _ = page.pictures[-1]
            assert effect == number
            timeline = room_of(server, page).session.timeline
            assert timeline is not None
            np.testing.assert_allclose(timeline.moments[moment].actions[:, -1], yaw)

    run(server, scene)


def test_a_lost_connection_finds_its_world_again_and_goes_on(tmp_path: Path):
    games: list[FakeGame] = []
    server = server_of(tmp_path, games)

    async def scene(connect: Connect) -> None:
        page = await connect({})
        await page.phase("ready")
        await walks(page)
        room = room_of(server, page)
        # Torn away, without a goodbye.
        page.socket._response.connection.transport.abort()  # pyright: ignore
        while room.people.here:
            await asyncio.sleep(0.005)
        assert room.session.phase is Phase.PAUSED and not room.controls.held
        again = await connect(page.me)
        await again.phase("playing")
        assert again.latest["welcome"]["number"] == page.latest["welcome"]["number"]
        await again.until(lambda: len(again.pictures) > 3)
        assert again.pictures[0][1] >= 3 and room_of(server, again) is room
        # The page that came back has sent no input yet.
        assert {effect for effect, _, _ in again.pictures[1:]} == {0}
        await walks(again, again.pictures[-1][1] + 3)
        assert len(room.session.timeline.stretches) == 1  # pyright: ignore
        # Who had paused finds it paused.
        await again.do("pause")
        await again.phase("paused")
        await again.socket.close()
        third = await connect(page.me)
        await third.phase("paused")
        # A second tab takes the place of the first.
        fourth = await connect(page.me)
        await fourth.phase("paused")
        assert await third.ended() == (REPLACED, "this world was opened in another tab")
        await walks(fourth, 1)

    run(server, scene)


def test_one_drives_and_hands_over(tmp_path: Path):
    games: list[FakeGame] = []
    now = [0.0]
    server = server_of(tmp_path, games, clock=lambda: now[0])

    async def scene(connect: Connect) -> None:
        driver = await connect({})
        await driver.phase("ready")
        viewer = await connect({"session": driver.me["session"]})
        await viewer.phase("ready")
        room = room_of(server, driver)

        def drives(page: Page) -> bool:
            me = page.latest["welcome"]["number"]
            return any(one["number"] == me and one["drives"] for one in page.latest["state"]["people"])

        # What a viewer does is nobody's business.
        await viewer.hold("forward")
        await viewer.do("restart")
        await viewer.send(type="give", to=2)
        await viewer.send(type="drive")
        now[0] += 1
        await driver.until(lambda: any(one["asks"] for one in driver.latest["state"]["people"]))
        assert drives(driver) and games[0].steps == 0 and room.session.seed == 3
        await driver.send(type="give", to=2)
        await viewer.until(lambda: drives(viewer))
        assert room.session.phase is Phase.READY and "player 2 drives" in viewer.latest["say"]["words"]
        await walks(viewer)
        await driver.until(lambda: driver.pictures[-1][1] >= 3)
        # The driver leaves: the world stands still for a while, then whoever asks drives.
        await driver.send(type="drive")
        await viewer.socket.close()
        await driver.phase("paused")
        assert not drives(driver)
        now[0] += PLACE_KEPT + 1
        await driver.until(lambda: drives(driver))
        await driver.do("resume")
        await walks(driver, driver.pictures[-1][1] + 2)
        # Who comes back looks on.
        back = await connect(viewer.me)
        await back.phase("playing")
        assert not drives(back)

    run(server, scene)


def test_ten_viewers_leave_at_once_and_the_driver_plays_on(tmp_path: Path):
    games: list[FakeGame] = []
    server = server_of(tmp_path, games, viewers=11)

    async def scene(connect: Connect) -> None:
        driver = await connect({})
        await driver.phase("ready")
        viewers = [await connect({"session": driver.me["session"]}) for _ in range(10)]
        for viewer in viewers:
            await viewer.phase("ready")
        full = await connect({"session": driver.me["session"]})
        assert (await full.ended())[0] == FULL
        await walks(driver)
        for viewer in viewers:
            await viewer.until(lambda viewer=viewer: viewer.pictures[-1][1] >= 2)
        for viewer in viewers[::2]:
            viewer.socket._response.connection.transport.abort()  # pyright: ignore
        await asyncio.gather(*(viewer.socket.close() for viewer in viewers[1::2]))
        room = room_of(server, driver)
        await driver.until(lambda: len(driver.latest["state"]["people"]) == 1)
        await walks(driver, driver.pictures[-1][1] + 3)
        assert room.session.phase is Phase.PLAYING and len(room.people.here) == 1

    run(server, scene)


@pytest.mark.slow
def test_a_viewer_that_takes_nothing_costs_the_others_nothing(tmp_path: Path):
    games: list[FakeGame] = []
    server = server_of(tmp_path, games)

    async def scene(connect: Connect) -> None:
        driver = await connect({})
        await driver.phase("ready")
        stuck = await connect({"session": driver.me["session"]})
        await stuck.phase("ready")
        stuck.socket._response.connection.transport.pause_reading()  # pyright: ignore
        await walks(driver, 40)
        [outbox] = [one.outbox for one in room_of(server, driver).people.here if one.number == 2]
        # One of each kind waits at most.
        assert outbox is not None and len(outbox._waiting) <= 6

    run(server, scene)


def test_as_many_worlds_as_there_may_be_and_each_for_itself(tmp_path: Path):
    games: list[FakeGame] = []
    now = [0.0]
    server = server_of(tmp_path, games, clock=lambda: now[0], sessions=2, linger=60)

    async def scene(connect: Connect) -> None:
        assert server.rooms is not None
        one, two = await connect({}), await connect({})
        for page in (one, two):
            await page.phase("ready")
        assert one.me["session"] != two.me["session"] and len(games) == 2
        third = await connect({})
        code, why = await third.ended()
        assert code == FULL and "all 2 worlds" in why
        await walks(one)
        assert games[1].steps == 0 and room_of(server, two).session.phase is Phase.READY
        rooms = [room_of(server, page) for page in (one, two)]
        await one.socket.close()
        await two.socket.close()
        while any(room.people.here for room in rooms):
            await asyncio.sleep(0.005)
        # The untouched one is given up soon, the other one is kept as long as was said.
        now[0] += 59
        while len(server.rooms.all) > 1:
            await asyncio.sleep(0.005)
        assert list(server.rooms.all) == [rooms[0].name]
        gone = await connect(two.me)
        assert await gone.ended() == (NO_WORLD, "this world has ended")
        back = await connect(one.me)
        await back.phase("playing")
        await back.socket.close()
        while rooms[0].people.here:
            await asyncio.sleep(0.005)
        now[0] += 61
        while server.rooms.all or not list(tmp_path.rglob("*.playthrough.json")):
            await asyncio.sleep(0.005)
        # What was played is kept.
        [saved] = tmp_path.rglob("*.playthrough.json")
        assert saved.parent.name == "world-1"
        assert Playthrough.load(saved).frames >= 6

    run(server, scene)


def test_the_playthrough_is_handed_out(tmp_path: Path):
    server = server_of(tmp_path)

    async def scene(connect: Connect) -> None:
        page = await connect({})
        await page.phase("ready")
        await walks(page)
        await page.do("save")
        await page.until(lambda: "file" in page.latest and "say" in page.latest)
        content = json.loads(page.latest["file"]["text"])
        assert content["format"] == "worldsim-playthrough-1" and content["seed"] == 3
        # Pages need not know where the server keeps things.
        assert page.latest["say"]["words"] == f"kept {page.latest['file']['name']}"
        [saved] = tmp_path.rglob("*.playthrough.json")
        assert saved.read_text() == page.latest["file"]["text"]

    run(server, scene)


def test_commands_of_the_page_do_what_they_say(tmp_path: Path):
    class Still:
        def choose(self, state: Any, frame: Any, count: int) -> np.ndarray:
            return 0 * forward()[:count]

    games: list[FakeGame] = []
    server = server_of(tmp_path, games, seats=lambda game: {"still": Still})

    async def scene(connect: Connect) -> None:
        page = await connect({})
        await page.phase("ready")
        await walks(page, 4)
        await page.do("quick save")
        await page.until(lambda: page.latest["tree"]["mark"])
        mark = page.latest["tree"]["mark"]
        await walks(page, mark[1] + 4)
        await page.do("quick load")
        await page.phase("ready")
        await page.until(lambda: page.latest["tree"]["here"] == mark)
        await page.do("player")
        await page.until(lambda: page.latest["state"]["plays"] == "still")
        await page.phase("playing")
        seen = len(games[0].seen)
        await page.until(lambda: len(games[0].seen) > seen + 2)
        assert not games[0].seen[-1].any()
        await page.do("player")
        await page.do("pause")
        await page.phase("paused")
        await page.until(lambda: page.latest["state"]["plays"] == "you")
        before = len(page.pictures)
        await page.do("step")
        await page.until(lambda: len(page.pictures) > before)
        await page.do("rewind")
        await page.phase("ready")
        await page.until(lambda: page.latest["tree"]["here"] == [0, 0])
        await page.send(type="starts")
        await page.until(lambda: "starts" in page.latest)
        assert len(page.latest["starts"]["pictures"]) == 5
        await page.send(type="begin", start=4)
        await page.until(lambda: games[0].start == 4)
        await page.phase("ready")
        # Places that are not there.
        await page.send(type="begin", start=5)
        await page.send(type="go", stretch=9, depth=1)
        await page.send(type="give", to=77)
        await walks(page, 2)
        assert games[0].start == 4

    run(server, scene)


@pytest.mark.parametrize("hello", [{}, {"token": "wrong"}, {"token": TOKEN[:-1]}, {"token": TOKEN + " "}])
def test_without_the_token_nobody_comes_in(tmp_path: Path, hello: dict[str, str]):
    server = server_of(tmp_path, access=Access(token=TOKEN))

    async def scene(connect: Connect) -> None:
        page = await connect(hello)
        code, why = await page.ended()
        assert code == WRONG_TOKEN and why.startswith("wrong token") and "welcome" not in page.latest
        # Nor is anything told, with or without a session.
        welcome = await connect({"token": TOKEN})
        await welcome.phase("ready")
        thief = await connect({"session": welcome.me["session"]})
        assert (await thief.ended())[0] == WRONG_TOKEN and not thief.pictures
        assert server.url.endswith(f"#token={TOKEN}")

    run(server, scene)


def test_pages_of_other_sites_are_turned_away(tmp_path: Path):
    server = server_of(tmp_path, access=Access(origins=("https://friend.example",)))

    async def scene(connect: Connect) -> None:
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await connect({}, headers=headers)
            assert caught.value.status == 403
        own = f"http://127.0.0.1:{server.port}"
        for origin in (own, "https://friend.example"):
            page = await connect({}, headers={"Origin": origin})
            await page.phase("ready")
        async with aiohttp.ClientSession() as client:
            async with client.get(own, headers={"Host": "evil.example"}) as answer:
                assert answer.status == 403 and "localhost only" in await answer.text()
            async with client.get(own) as answer:
                assert answer.status == 200 and "'self'" in answer.headers["Content-Security-Policy"]
            for path in ("/play.js", "/style.css", "/health"):
                async with client.get(own + path) as answer:
                    assert answer.status == 200
            for path in ("/../server.py", "/server.py", "/page/play.js", "/none.js", "/%2e%2e/server.py"):
                async with client.get(own + path) as answer:
                    assert answer.status == 404
            async with client.get(own + "/socket") as answer:
                assert answer.status == 400

    run(server, scene)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "not JSON"),
        ('{"type": "shell"}', "unknown message"),
        ('{"type": "hello", "token": "", "session": "", "me": ""}', "a second hello"),
        ("x" * 5000, "more than"),
        (b"\x00\x01", "not text"),
    ],
)
def test_nonsense_ends_the_connection_in_words_and_the_world_stays(tmp_path: Path, text: Any, words: str, caplog: Any):
    server = server_of(tmp_path)

    async def scene(connect: Connect) -> None:
        page = await connect({})
        await page.phase("ready")
        await (page.socket.send_str(text) if isinstance(text, str) else page.socket.send_bytes(text))
        code, why = await page.ended()
        assert code == MALFORMED and words in why
        again = await connect(page.me)
        await again.phase("ready")
        await walks(again)

    run(server, scene)
    assert not caplog.records


def test_before_a_hello_nothing_else_is_heard(tmp_path: Path):
    server = server_of(tmp_path)

    async def scene(connect: Connect) -> None:
        page = await connect()
        await page.do("restart")
        assert await page.ended() == (MALFORMED, "the first message must be a hello")

    run(server, scene)


def test_a_flood_and_a_huge_message_end_the_connection_alone(tmp_path: Path, caplog: Any):
    # The clock stands still: no message more is allowed with time.
    server = server_of(tmp_path, clock=lambda: 0.0)

    async def scene(connect: Connect) -> None:
        page = await connect({})
        await page.phase("ready")
        other = await connect({"session": page.me["session"]})
        await other.phase("ready")
        try:
            for _ in range(int(BURST) + 200):
                await page.hold("forward")
        except ConnectionError:
            pass
        code, why = await page.ended()
        assert (code, why) == (FLOOD, "too many messages")
        huge = await connect(page.me)
        await huge.phase("playing")
        await huge.socket.send_str("x" * 200_000)
        assert (await huge.ended())[0] == 1009
        back = await connect(page.me)
        await back.phase("playing")
        last = other.pictures[-1][1]
        await other.until(lambda: other.pictures[-1][1] > last + 2)

    run(server, scene)
    assert not caplog.records


@pytest.mark.slow
def test_closing_ends_though_a_world_hangs_and_keeps_what_was_played(tmp_path: Path):
    games: list[FakeGame] = []
    server = server_of(tmp_path, games)
    pages: list[Page] = []

    async def scene(connect: Connect) -> None:
        page = await connect({})
        await page.phase("ready")
        await walks(page, 4)
        games[0].open.clear()
        pages.append(page)
        # The server is stopped while the page listens.
        stopped = asyncio.create_task(server.stop())
        assert await page.ended() == (GOING_AWAY, "the server is closing")
        await stopped

    run(server, scene)
    games[0].open.set()
    [saved] = tmp_path.rglob("*.playthrough.json")
    assert Playthrough.load(saved).frames >= 8


def test_a_world_that_cannot_be_loaded_ends_the_server(tmp_path: Path):
    def fail(tell: Any) -> FakeGame:
        raise FileNotFoundError("no world 'x'")

    with pytest.raises(FileNotFoundError, match="no world 'x'"):
        serve(server_of(tmp_path, open_game=fail))


def test_an_address_that_is_taken_is_told(tmp_path: Path):
    async def scene(connect: Connect) -> None:
        other = server_of(tmp_path, port=server.port)
        with pytest.raises(UserError, match=f"port {server.port}"):
            await other.start()
        await other.stop()

    server = server_of(tmp_path)
    run(server, scene)
