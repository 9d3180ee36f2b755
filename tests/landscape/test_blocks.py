"""Blocks, boxes, streams and filter lengths: what directions are drawn from piece by piece."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.landscape import random_directions
from lrscape.landscape.boxes import boxes, pieces, spans
from lrscape.landscape.draws import Stream, stream_seed
from lrscape.landscape.filters import filter_layout, filters_of, match_, whole_layer
from lrscape.landscape.gram import gram_of, gram_schmidt, mixing
from lrscape.landscape.parameters import all_slots

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


@given(shape=shapes, data=st.data())
def test_boxes_are_the_positions_in_order(shape, data):
    count = math.prod(shape)
    start = data.draw(st.integers(0, count))
    stop = data.draw(st.integers(start, count))
    numbers = torch.arange(count).reshape(shape)
    found = [numbers[box].flatten() for box in boxes(shape, start, stop)]
    assert torch.cat([torch.empty(0, dtype=torch.long), *found]).tolist() == list(range(start, stop))
    assert len(found) <= 2 * len(shape) - 1


@given(shape=shapes, data=st.data())
def test_pieces_are_what_is_here(shape, data):
    count = math.prod(shape)
    start = data.draw(st.integers(0, count))
    stop = data.draw(st.integers(start, count))
    ends = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
    here = tuple(slice(*end) for end in ends)
    numbers = torch.arange(count).reshape(shape)
    block, part = numbers.flatten()[start:stop], numbers[here].clone()
    seen = []
    for piece in pieces(shape, start, stop, here):
        assert torch.equal(piece.of(block), numbers[piece.where])
        assert torch.equal(piece.of(block), part[piece.local])
        assert piece.size == piece.of(block).numel()
        seen += piece.of(block).flatten().tolist()
    assert seen == [n for n in range(start, stop) if (part == n).any()]


@given(count=st.integers(0, 300), block=st.sampled_from([16, 32, 64]))
def test_spans_leave_no_short_tail(count, block):
    cut = list(spans(count, block))
    assert [n for start, stop in cut for n in range(start, stop)] == list(range(count))
    assert all(stop - start >= 16 for start, stop in cut) or count < 16
    assert all(stop - start == block for start, stop in cut[:-1])
    assert all(stop - start < block + 16 for start, stop in cut)


@pytest.mark.parametrize("count", [1, 5, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 1000, 4096, 4099, 70001])
@pytest.mark.parametrize("block", [16, 32, 1024, 2**16])
def test_blocks_of_a_stream_are_one_draw(count, block):
    seed = stream_seed(3, 1, "a.weight")
    expected = torch.empty(count).normal_(generator=torch.Generator().manual_seed(seed))
    stream = Stream(seed, torch.device("cpu"))
    found = torch.cat([stream.fill(torch.empty(stop - start)) for start, stop in spans(count, block)])
    assert torch.equal(found, expected)


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.up = nn.ConvTranspose2d(6, 9, 3, groups=3)
        self.matrix = nn.Linear(7, 3)
        self.experts = nn.Parameter(torch.randn(2, 4, 3))
        self.scalar = nn.Parameter(torch.tensor(2.0))
        self.Conv1D = type("Conv1D", (nn.Linear,), {})(4, 5)


@pytest.mark.parametrize("block", [16, 32, 2**20])
def test_filter_lengths_piece_by_piece(block, monkeypatch):
    monkeypatch.setattr("lrscape.landscape.filters.spans", lambda count: spans(count, block))
    for slot in all_slots(Layers()):
        view, dims = filter_layout(slot)
        expected = slot.parameter.detach().double().reshape(view).square().sum(dims)
        found = filters_of(slot).squares(slot.parameter.detach(), torch.device("cpu"))
        torch.testing.assert_close(found.flatten(), expected.flatten(), rtol=2e-7, atol=0)
        whole = whole_layer(slot).squares(slot.parameter.detach(), torch.device("cpu"))
        torch.testing.assert_close(whole.sum(), expected.sum(), rtol=2e-7, atol=0)


def test_long_filters_are_matched_to_the_last_digit():
    # torch's float32 norms of 2**22 numbers are off by a part in ten thousand
    model = nn.Linear(2**21, 2, bias=False)
    with torch.no_grad():
        model.weight.normal_(generator=torch.Generator().manual_seed(0))
    slot = all_slots(model)[0]
    drawn = torch.randn(1, 2, 2**21, generator=torch.Generator().manual_seed(1))
    expected = model.weight.detach().double().norm(dim=1)
    match_(drawn, filters_of(slot), model.weight.detach())
    torch.testing.assert_close(drawn[0].double().norm(dim=1), expected, rtol=2e-7, atol=0)
    match_(drawn, whole_layer(slot), 2 * model.weight.detach())
    torch.testing.assert_close(drawn[0].double().norm(), 2 * expected.norm(), rtol=2e-7, atol=0)


@given(seed=st.integers(0, 10**6), k=st.integers(1, 4))
def test_mixing_is_gram_schmidt(seed, k):
    vectors = np.random.default_rng(seed).normal(size=(k, 9))
    q, r = np.linalg.qr(vectors.T)
    expected = (q * np.sign(np.diag(r))).T * np.linalg.norm(vectors, axis=1)[:, None]
    np.testing.assert_allclose(mixing(vectors @ vectors.T) @ vectors, expected, rtol=1e-8, atol=1e-8)
    tensors = {"a": torch.from_numpy(vectors[:, :4].copy()), "b": torch.from_numpy(vectors[:, 4:].copy())}
    found = torch.cat(list(gram_schmidt(tensors, k).values()), 1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-8)


def test_gram_of_any_layout():
    plain = torch.randn(3, 4, 5, 6)
    other = plain.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    flat = plain.reshape(3, -1).double()
    for tensors in ([plain], [other], [plain[:, :2], plain[:, 2:]]):
        np.testing.assert_allclose(gram_of(tensors, 3), flat @ flat.T, rtol=1e-12)
    numbers = torch.randn(3)
    np.testing.assert_allclose(gram_of([numbers], 3), torch.outer(numbers.double(), numbers.double()), rtol=1e-12)


def test_directions_lie_in_memory_like_the_parameter():
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    plain = nn.Conv2d(3, 4, 3)
    plain.load_state_dict(model.state_dict())
    found, expected = random_directions(model, 2, seed=1), random_directions(plain, 2, seed=1)
    assert found.tensors["weight"][1].stride() == model.weight.stride()
    assert torch.equal(found.tensors["weight"], expected.tensors["weight"])
