import json

import pytest

from worldsim.spec.actions import MINECRAFT, ActionSpec
from worldsim.spec.camera import MINECRAFT_CAMERA, Camera, camera_for


def test_only_games_with_a_camera_have_one():
    assert camera_for(MINECRAFT) == MINECRAFT_CAMERA
    assert camera_for(ActionSpec(keys=("up", "down"), camera=False)) is None


def test_a_camera_survives_json():
    assert Camera.from_json(json.loads(json.dumps(MINECRAFT_CAMERA.to_json()))) == MINECRAFT_CAMERA


def test_focal_length_follows_from_the_field_of_view():
    square = Camera(vertical_fov=90.0, eye_height=1.6, near=0.1, far=100.0)
    assert square.focal_pixels(80) == pytest.approx(40.0)
    assert MINECRAFT_CAMERA.focal_pixels(80) == pytest.approx(55.06, abs=0.01)
    assert MINECRAFT_CAMERA.rows_of_world(80) == 61 and square.rows_of_world(80) == 80


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"vertical_fov": 0.0}, "vertical_fov"),
        ({"near": 5.0, "far": 1.0}, "near"),
        ({"pitch_limits": (20.0, -20.0)}, "pitch_limits"),
        ({"world_rows": 0.0}, "world_rows"),
        ({"zoom": 2.0}, "describe a camera"),
    ],
)
def test_mistakes_are_told(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Camera.from_json(MINECRAFT_CAMERA.to_json() | wrong)
