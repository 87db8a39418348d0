import pytest
import torch

from tests.tiny_world import tiny_tokenizer
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer


@torch.no_grad()
def test_shapes_and_sizes():
    tokenizer = tiny_tokenizer()
    for height, width in ((32, 32), (32, 64), (64, 32)):
        z = tokenizer.encode(torch.rand(2, 5, 3, height, width))
        assert z.shape == (2, 3, 8, height // 8, width // 8)
        assert tokenizer.decode(z).shape == (2, 5, 3, height, width)


@torch.no_grad()
def test_later_frames_never_change_earlier_latents_nor_pictures():
    tokenizer = tiny_tokenizer()
    frames = torch.rand(1, 9, 3, 32, 32)
    changed = frames.clone()
    changed[:, 5:] = torch.rand(1, 4, 3, 32, 32)
    a, b = tokenizer.encode(frames), tokenizer.encode(changed)
    assert torch.equal(a[:, :3], b[:, :3]) and not torch.equal(a[:, 3:], b[:, 3:])
    torch.testing.assert_close(tokenizer.decode(a)[:, :5], tokenizer.decode(b)[:, :5], rtol=0, atol=0)


@torch.no_grad()
def test_an_image_is_a_one_frame_video():
    tokenizer = tiny_tokenizer()
    frames = torch.rand(2, 5, 3, 32, 32)
    torch.testing.assert_close(tokenizer.encode(frames)[:, :1], tokenizer.encode(frames[:, :1]), rtol=1e-5, atol=1e-6)
    z = tokenizer.encode(frames)
    torch.testing.assert_close(tokenizer.decode(z)[:, :1], tokenizer.decode(z[:, :1]), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_streaming_equals_whole():
    tokenizer = tiny_tokenizer()
    z = tokenizer.encode(torch.rand(2, 9, 3, 32, 32))
    whole, _ = tokenizer.decode_chunks(z)
    past, parts = None, []
    for t in range(z.shape[1]):
        part, past = tokenizer.decode_chunks(z[:, t : t + 1], past)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_decoder_remembers_the_chunk_before():
    tokenizer = tiny_tokenizer()
    z = torch.randn(1, 2, 8, 4, 4)
    other = z.clone()
    other[:, 0] += 1
    a, b = tokenizer.decode(z), tokenizer.decode(other)
    assert not torch.allclose(a[:, 1:], b[:, 1:])


@torch.no_grad()
def test_linear_path_is_exact_where_components_suffice():
    """Pictures that vary in fewer ways than there are channels come back through the linear path alone."""
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(TokenizerConfig(channels=6, bound=1000.0))
    basis = torch.randn(5, 2, 3, 8, 8) * 0.1
    weights = torch.randn(3, 2, 4, 4, 5)
    patches = 0.5 + torch.einsum("bthwk,krcpq->btrchpwq", weights, basis)
    chunks = patches.reshape(3, 2, 2, 3, 32, 32)
    tokenizer.fit_linear(chunks)
    z = tokenizer.encode_chunks(chunks)
    out, _ = tokenizer.decode_chunks(z)
    torch.testing.assert_close(out, chunks, rtol=1e-3, atol=1e-3)
    assert abs(float(z.var()) - 5 / 6) < 0.35  # five of six channels carry something, mean variance one


def test_errors():
    tokenizer = tiny_tokenizer()
    with pytest.raises(ValueError, match="1 \\+ 2 k frames"):
        tokenizer.encode(torch.rand(1, 4, 3, 32, 32))
    with pytest.raises(ValueError, match="multiples of 16"):
        tokenizer.encode(torch.rand(1, 1, 3, 40, 32))
