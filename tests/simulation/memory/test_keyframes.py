import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.simulation.memory.room import LENS, look, pose
from worldsim.simulation.memory.keyframes import KeyFrames
from worldsim.simulation.memory.observe import MemoryConfig, observe, recall

CONFIG = MemoryConfig()


def two_worlds() -> KeyFrames:
    """One that has turned, and one that has hardly moved, whose last observation is no key frame."""
    memory = KeyFrames.empty(2)
    for step, poses in enumerate([(pose(), pose()), (pose(yaw=60), pose(yaw=1)), (pose(yaw=140), pose(yaw=2))]):
        memory = observe(LENS, memory, look(*poses, step=step), CONFIG)
    return memory


def same(one: KeyFrames, two: KeyFrames) -> bool:
    a, b = one.tensors(), two.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_fork_copies_nothing_and_leaves_its_parent_alone():
    parent = two_worlds()
    before = {name: t.clone() for name, t in parent.tensors().items()}
    forks = parent.select([0] * 16)
    assert forks.batch == 16 and forks.nbytes() == parent.select([0]).nbytes()
    poses = [pose(yaw=140 + 20 * n) for n in range(16)]
    after = observe(LENS, forks, look(*poses, step=3, blocks=[((-1.0, 0, 2), (1, 3, 3))]), CONFIG)
    assert all(torch.equal(before[name], t) for name, t in parent.tensors().items())
    assert same(forks, parent.select([0] * 16))
    assert not same(after.select([0]), after.select([8]))


def test_what_forks_add_is_all_that_they_cost():
    parent = two_worlds().select([0])
    frame = parent.rows[0].kept[0]
    size = sum(t.numel() * t.element_size() for t in (frame.picture, frame.inverse_depth, frame.confidence, frame.pose))
    assert parent.nbytes() == 3 * size
    away = observe(LENS, parent.select([0, 0]), look(pose(yaw=210), pose(yaw=260), step=3), CONFIG)
    assert away.nbytes() <= 5 * size


def test_rows_are_selected_and_concatenated():
    memory = two_worlds()
    assert same(KeyFrames.concatenate([memory.select([1]), memory.select([0])]), memory.select([1, 0]))
    assert same(memory.select(torch.tensor([1])), KeyFrames((memory.rows[1],)))
    with pytest.raises(IndexError, match="between 0 and 1"):
        memory.select([2])


def test_saved_and_loaded_it_goes_on_alike(tmp_path):
    memory = two_worlds()
    assert [len(row.kept) for row in memory.rows] == [3, 1]
    save_file(memory.tensors(), tmp_path / "memory.safetensors")
    back = KeyFrames.from_tensors(load_file(tmp_path / "memory.safetensors"))
    assert same(memory, back)
    seen = look(pose(yaw=160), pose(z=2), step=3)
    assert same(observe(LENS, memory, seen, CONFIG), observe(LENS, back, seen, CONFIG))
    targets, steps = torch.stack([pose(yaw=150), pose(z=0.5)]), torch.tensor([4, 4])
    one, two = (recall(LENS, m, targets, steps, CONFIG) for m in (memory, back))
    assert torch.equal(one.picture, two.picture) and torch.equal(one.age, two.age)


def test_an_empty_memory_is_saved_too(tmp_path):
    save_file(KeyFrames.empty(3).tensors(), tmp_path / "memory.safetensors")
    back = KeyFrames.from_tensors(load_file(tmp_path / "memory.safetensors"))
    assert back == KeyFrames.empty(3)


def test_other_tensors_are_refused():
    named = two_worlds().tensors()
    with pytest.raises(ValueError, match="poses missing"):
        KeyFrames.from_tensors({n: t for n, t in named.items() if n != "memory.poses"})
    with pytest.raises(ValueError, match="confidence is"):
        KeyFrames.from_tensors(named | {"memory.confidence": named["memory.confidence"][:, :, :-1]})
    with pytest.raises(ValueError, match=r"taken is .* of torch.float32"):
        KeyFrames.from_tensors(named | {"memory.taken": named["memory.taken"].float()})
