"""The parts of an evaluation, in the order in which they are measured and reported: one line each."""

from collections.abc import Mapping
from importlib import import_module

from worldsim.evaluation.interface.part import EvaluationPart

LISTED = (
    "horizons:Horizons",
    "forced:Forced",
    "perceptual:Perceptual",
    "camera:CameraPath",
    "actions:Actions",
    "inverse:Inverse",
    "branches:CounterfactualBranches",
    "memory:Memory",
    "returns:Returns",
    "rest:Rest",
    "objects:Objects",
    "obstacles:Obstacles",
    "text:Text",
    "long:Long",
    "measures:Measures",
)


def load_part(listed: str) -> EvaluationPart:
    """The part ``module:Class`` of ``worldsim.evaluation.parts``."""
    module, name = listed.split(":")
    return getattr(import_module(f"worldsim.evaluation.parts.{module}"), name)()


PARTS: Mapping[str, EvaluationPart] = {part.name: part for part in map(load_part, LISTED)}
