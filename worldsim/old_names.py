"""Names of modules from before they moved into subpackages: ``module:Name`` in recordings and settings stays valid.

To be removed with the release after the next one.
"""

import functools
import importlib
import warnings
from typing import Any

# Old package, new package, and the modules that moved: ``old=new`` where the module's own name changed too.
_MOVES: tuple[tuple[str, str, str], ...] = (
    ("worldsim", "worldsim.diffusion", "dynamics_loss flow noise samplers rollout_context=self_rollout"),
    (
        "worldsim",
        "worldsim.models",
        "attention checkpoint conditioning dit fact_heads heads patchify precision rowwise text tokenizer",
    ),
    ("worldsim", "worldsim.optim", "muon training=train_state"),
    ("worldsim", "worldsim.scripting", "action_script=grammar script_player=player script_tokens=tokens"),
    (
        "worldsim",
        "worldsim.simulation",
        "branch_tree branching trust=confidence world_config=config state world=world_model",
    ),
    ("worldsim", "worldsim.spec", "actions compute facts pose tasks"),
    (
        "worldsim",
        "worldsim.training",
        "adversary=discriminator train_dynamics=dynamics step_cost=flops train_tokenizer=tokenizer",
    ),
    (
        "worldsim.agents",
        "worldsim.agents.collection",
        "collect collect_human=human collect_world=job collect_ray=ray collect_report=report "
        "sources_choice=source_choice sources_engine=source_engine sources_gym=source_gym "
        "sources_minerl=source_minerl sources_world=source_world sources=types collect_tape=tape",
    ),
    (
        "worldsim.agents",
        "worldsim.agents.policies",
        "policies_body=body branch_players policies=mixture planner players=player policy_net "
        "pong_player=pong policies_random=random policies_scripts=scripts",
    ),
    ("worldsim.agents", "worldsim.agents.rl", "clone=cloning agent_envs=envs learn=ppo"),
    (
        "worldsim.agents",
        "worldsim.training",
        "calibration captioner export inverse_dynamics run_log=logging training=pipelines shipping=release "
        "task_examples train_tasks=task_heads",
    ),
    (
        "worldsim.datasets",
        "worldsim.datasets.captions",
        "caption_attributes=attributes clip_facts caption_endpoint=endpoint caption_file=files "
        "captioner=maker caption_style=style captions=templates",
    ),
    (
        "worldsim.datasets",
        "worldsim.datasets.checks",
        "check_actions=actions card check_chunks=chunks check_clock=clock check_episode=episode "
        "check_judge=judge check_maps=maps check_motion=motion check_pictures=pictures repair "
        "check_html=report check=run salvage stillness",
    ),
    ("worldsim.datasets", "worldsim.datasets.governance", "map_seeds governance=provenance seen_maps withdrawal"),
    (
        "worldsim.datasets",
        "worldsim.datasets.importers",
        "import_cursor=cursor import_formats=formats importers=importer import_lerobot=lerobot "
        "import_minari=minari import_minerl=minerl import_pictures=pictures import_recording=recording "
        "resample import_store=store import_table=table import_vpt=vpt",
    ),
    (
        "worldsim.datasets",
        "worldsim.datasets.loading",
        "speed=benchmark clips latent_build latent_cache latent_pack latents starts task_facts",
    ),
    (
        "worldsim.datasets",
        "worldsim.datasets.recording",
        "action_codec env_pictures recorder recorder_gym recorder_pygame",
    ),
    (
        "worldsim.datasets",
        "worldsim.datasets.store",
        "catalogue episode episode_files folder index manifest open_episode shard_reader=reader "
        "recording_format remote store video",
    ),
    (
        "worldsim.envs",
        "worldsim.envs.learned",
        "action_spaces world_env=env beginnings=initial_context world_vec_env=sb3_vec_env snapshot tasks "
        "world_vector_env=vector_env",
    ),
    (
        "worldsim.envs",
        "worldsim.envs.luanti",
        "engine_env luanti_env=env luanti_input=input luanti_log=log luanti_process=process "
        "luanti_session=session luanti_shim=shim luanti_world=world",
    ),
    ("worldsim.envs", "worldsim.envs.play", "controls games hands play scripted_player"),
    ("worldsim.envs", "worldsim.envs.pong", "pong_engine=engine pong_pixels=pixels pong_tasks=tasks"),
    ("worldsim.envs", "worldsim.envs.rollouts", "human_branches prefix rollout tree_files tree_picture"),
    ("worldsim.envs", "worldsim.scripting", "action_files"),
)


def _table() -> dict[str, str]:
    out = {}
    for before, after, modules in _MOVES:
        for pair in modules.split():
            old, _, new = pair.partition("=")
            out[f"{before}.{old}"] = f"{after}.{new or old}"
    return out


# New module by old module.
MOVED = _table()


def find_attribute(module: str, attribute: str) -> Any:
    """``attribute`` of ``module``; if ``module`` is a name from before the move, a warning says the new one.

    Some old modules are packages now (``worldsim.agents.policies``): what the package itself has comes first.

    Raises:
        ImportError: there is no such module, or it cannot be imported.
        AttributeError: it has nothing of that name.
    """
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        # A module that is there but lacks one of its own imports is no old name.
        missing = isinstance(error, AttributeError) or error.name == module
        if module not in MOVED or not missing:
            raise
    found = getattr(importlib.import_module(MOVED[module]), attribute)
    _warn(f"{module}:{attribute}", f"{MOVED[module]}:{attribute}")
    return found


@functools.cache
def _warn(old: str, new: str) -> None:
    """Warn once for each name."""
    # Python hides DeprecationWarning from everyone but the author of the calling script; settings are users' own.
    warnings.warn(f"{old} is called {new} now; the old name goes with the next release", FutureWarning, stacklevel=4)
