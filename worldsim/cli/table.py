"""The commands: name, what runs it, one line of help. The modules are imported when a command is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        function: ``module:name`` of what runs it; its one parameter is the command's dataclass of settings.
        help: what it does.
    """

    function: str
    help: str


_CLI = "worldsim.cli"
COMMANDS: dict[str, Command] = {
    "play": Command(
        f"{_CLI}.worlds.play:play",
        "play a learned world in a window; without a display, a scripted player writes a video",
    ),
    "rollout": Command(
        f"{_CLI}.worlds.rollout:rollout",
        "counterfactual futures: one past, one noise, a tree of branches by scripts, policies or a person; videos, the "
        "tree as a picture, divergence, rewards; and the same branches in the real engine",
    ),
    "generate": Command(
        f"{_CLI}.worlds.generate:generate",
        "films from text alone, or that go on from a picture or a video, of any length and of any size that the "
        "network's grid allows",
    ),
    "generate extend": Command(
        f"{_CLI}.worlds.generate:extend", "put more film behind a video, and before it: generate extend FILM after=4"
    ),
    "generate loop": Command(
        f"{_CLI}.worlds.generate:loop", "make a film that begins anew where it ends, without a cut"
    ),
    "generate join": Command(
        f"{_CLI}.worlds.generate:join", "join two videos by what may lead from one to the other: generate join A B"
    ),
    "generate edit": Command(
        f"{_CLI}.worlds.generate:edit", "make a video anew under a prompt, with the same actions and from its frames"
    ),
    "make-world": Command(
        f"{_CLI}.making.make_world:make_world",
        "make a playable world of a folder of recordings: check, train, export, judge, with choices that suit the game",
    ),
    "collect": Command(
        f"{_CLI}.collect:run_collect",
        "record play into an episode store: of the real game, any Gymnasium environment, a learned world; by scripts, "
        "at random, or by a person",
    ),
    "train tokenizer": Command(f"{_CLI}.train.worlds:train_tokenizer", "train the video tokenizer on a store"),
    "train dynamics": Command(f"{_CLI}.train.worlds:train_dynamics", "train the diffusion Transformer on a store"),
    "train export": Command(
        f"{_CLI}.train.worlds:export", "make a playable world of a dynamics run, a tokenizer and start clips"
    ),
    "train trust": Command(
        f"{_CLI}.train.trust:train_trust",
        "calibrate a world's confidence: its rollouts are compared with recordings of maps that it never saw",
    ),
    "train memory": Command(
        f"{_CLI}.train.memory:train_memory",
        "give a world its spatial memory: join depth and motion, and train what chooses between drawn and generated",
    ),
    "train inverse": Command(
        f"{_CLI}.train.inverse:train_inverse",
        "train the inverse-dynamics model, which reads actions off pictures; eval judges rollouts with it",
    ),
    "train depth": Command(
        f"{_CLI}.train.depth:train_depth",
        "train the network that gives a spatial memory depth and confidence for every picture",
    ),
    "train motion": Command(
        f"{_CLI}.train.motion:train_motion",
        "train ego-motion: how far the player moves in each video frame, from actions and depth, before it is drawn",
    ),
    "train tasks": Command(
        f"{_CLI}.train.tasks:train_tasks",
        "train a world's heads for the facts that tasks are judged by (a tree in view, wood cut, feet in water)",
    ),
    "train captioner": Command(
        f"{_CLI}.train.captioner:train_captioner",
        "train a captioner that reads a world's latents, and measure it on maps that it never saw",
    ),
    "eval": Command(
        f"{_CLI}.worlds.evaluate:evaluate",
        "measure a world on maps it never saw: quality by horizon, obedience, counterfactuals, memory, drift, failures",
    ),
    "compare": Command(
        f"{_CLI}.worlds.compare:compare",
        "compare reports of eval: differences with intervals, curves, and measures by training compute",
    ),
    "study make": Command(
        f"{_CLI}.worlds.study:make",
        "make a blind study: a page on which people choose between what worlds, or a world and the game, make of the "
        "same past and actions",
    ),
    "study result": Command(
        f"{_CLI}.worlds.study:result",
        "say what raters chose: shares, strengths, intervals; by rater, map and length",
    ),
    "compare-emulator": Command(
        f"{_CLI}.worlds.compare_emulator:compare_emulator",
        "compare the world of Pong with clones of its emulator: same past, several branches of actions",
    ),
    "agent train": Command(
        f"{_CLI}.agent.train:train",
        "train an agent by reward (PPO) in the learned world or the real game, or clone recorded play (algo=bc)",
    ),
    "agent eval": Command(
        f"{_CLI}.agent.evaluate:evaluate",
        "returns of a policy over episodes, in the learned world, the real game, or both with the gap between them",
    ),
    "agent watch": Command(
        f"{_CLI}.agent.watch:watch", "watch a policy play, in the learned world or the real game: a window, or a video"
    ),
    "data summary": Command(f"{_CLI}.data.store:summary", "count a store's episodes, frames and maps by split"),
    "data list": Command(f"{_CLI}.data.store:list_episodes", "list a store's episodes, one a line"),
    "data verify": Command(f"{_CLI}.data.store:verify", "check every file of a store against its checksum"),
    "data import": Command(
        f"{_CLI}.data.imports:run_import",
        "import recordings: OpenAI VPT and BASALT, MineRL, Minari, LeRobot, videos with csv or jsonl, videos, images, "
        "other stores",
    ),
    "data export": Command(
        f"{_CLI}.data.export:export", "write episodes as a LeRobot data set (v3.0), for other programs to learn from"
    ),
    "data check": Command(
        f"{_CLI}.data.check:check",
        "check a store: alignment, damage, frozen frames, maps in two splits, ...; exit code 1 when something fails",
    ),
    "data repair": Command(
        f"{_CLI}.data.check:repair",
        "recover what is sound of a damaged store and list what was lost; nothing is destroyed",
    ),
    "data card": Command(f"{_CLI}.data.check:card", "write the dataset card: totals, licences, actions, gaps"),
    "data audit": Command(
        f"{_CLI}.data.audit:audit",
        "list what a checkpoint was trained on; exit code 1 when some of it was withdrawn",
    ),
    "data withdraw": Command(
        f"{_CLI}.data.audit:withdraw_episode",
        "take an episode out of a store and name every checkpoint that was trained on it",
    ),
    "data caption": Command(
        f"{_CLI}.data.caption:caption",
        "caption clips: by rules from state and actions, by a learned captioner, by a vision-language model",
    ),
    "data index": Command(
        f"{_CLI}.data.store:write_index", "rebuild a store's index, by which snapshots and large stores are opened"
    ),
    "data pack": Command(
        f"{_CLI}.data.latents:pack",
        "pack the latents of a store into small files, to train on another machine",
    ),
    "data unpack": Command(
        f"{_CLI}.data.latents:unpack", "make a latent cache of packed latents, for train dynamics latents=FOLDER"
    ),
    "data sheet": Command(f"{_CLI}.data.store:contact_sheet", "a picture with frames of many episodes"),
    "expand": Command(f"{_CLI}.data.caption:expand", "turn a short prompt into the style of captions"),
    "bench": Command(
        f"{_CLI}.bench.world:bench",
        "measure step latency, frames/s, memory, and the share of this machine's matrix-product ceiling",
    ),
    "bench parts": Command(
        f"{_CLI}.bench.parts:bench_parts",
        "measure each part of play and training: time, share of the matrix-product ceiling, and where its time goes; "
        "beside other world models",
    ),
    "bench peers": Command(
        f"{_CLI}.bench.peers.command:bench_peers",
        "compare, in one run, with other world models that are here: the package dreamer4, a checkout of DIAMOND",
    ),
    "bench env": Command(
        f"{_CLI}.bench.env:bench_env",
        "measure a world as an environment: steps/s alone, in a batch and in processes, snapshots, the null test",
    ),
    "bench data": Command(
        f"{_CLI}.bench.data:bench_data",
        "measure how fast random clips come out of a store, beside mp4 files decoded with PyAV",
    ),
    "bench packs": Command(
        f"{_CLI}.bench.packs:bench_packs",
        "simulate drawing clips from packed latents of many episodes: time and memory of their index and their order",
    ),
    "bench train": Command(
        f"{_CLI}.bench.train:bench_train",
        "measure a training step of the dynamics: FLOP/s beside this machine's matrix-product ceiling, and its parts",
    ),
    "bench plan": Command(
        f"{_CLI}.bench.plan:bench_plan",
        "memory, work and expected speed of training and play on devices that need not be here; names its assumptions",
    ),
    "doctor": Command(f"{_CLI}.doctor:doctor", "list what is installed, what is missing, and what to do"),
}
# First words of commands, and what they are about.
FAMILIES = {
    "train": "train worlds, and what judges and describes them",
    "agent": "train, measure and watch agents",
    "data": "import, check, repair and describe episodes",
    "bench": "measure speed on this machine",
    "generate": "make films: from text, a picture or a video; longer, joined, in a loop, under another prompt",
    "study": "ask people which of two films looks more like the game",
}
SECTIONS = {
    "Worlds": ("play", "rollout", "generate", "eval", "compare", "study", "compare-emulator"),
    "Recording and training": ("collect", "make-world", "train", "agent"),
    "Episodes": ("data", "expand"),
    "This machine": ("bench", "doctor"),
    "Help": ("help", "completion"),
}
# Former names, taken with a warning for one release.
RENAMED = {"truth": "compare-emulator"}
