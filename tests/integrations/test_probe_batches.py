"""Batches for probes follow from seed and step, and leave the random state of training alone."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lrscape.integrations.probe_batches import CycledBatches, SampledBatches

DATA = TensorDataset(torch.arange(20))


def shuffling():
    return DataLoader(DATA, batch_size=6, shuffle=True)


def drawn(source, number):
    return [batch[0].tolist() for batch in (source(step) for step in range(number))]


class Augmented(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return torch.rand(()) + index + 10 * random.randint(0, 1) + 100 * np.random.randint(2)


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 10_000), st.integers(0, 5))
def test_sample_is_a_function_of_seed_and_step(count, size, step, seed):
    first, again = (SampledBatches(range(count), sorted, size, seed)(step) for _ in range(2))
    assert first == again
    assert len(set(first)) == len(first) == min(size, count)
    assert set(first) <= set(range(count))


def test_samples_differ_between_steps_and_seeds():
    source, other = (SampledBatches(range(1000), sorted, 40, seed) for seed in (0, 1))
    assert len({tuple(source(step)) for step in range(50)} | {tuple(other(step)) for step in range(50)}) == 100
    counts = np.bincount(np.concatenate([source(step) for step in range(400)]), minlength=1000)
    assert abs(counts - 16).max() < 6 * 16**0.5  # about Poisson(16)


@pytest.mark.parametrize(
    "source", [SampledBatches(Augmented(), torch.stack, 3), CycledBatches(DataLoader(Augmented(), shuffle=True))]
)
def test_random_state_of_training_is_left_alone(source):
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for step in range(7):
        source(step)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_passes_are_shuffled_anew_and_whole():
    found = drawn(CycledBatches(shuffling()), 12)
    passes = [[value for batch in found[i : i + 4] for value in batch] for i in (0, 4, 8)]
    assert all(sorted(values) == list(range(20)) for values in passes)
    assert len({tuple(values) for values in passes}) == 3
    torch.rand(17)  # what training draws does not count
    assert drawn(CycledBatches(shuffling()), 12) == found


@pytest.mark.parametrize("number", range(10))
def test_reading_goes_on_where_another_stood(number):
    whole, first, second = (CycledBatches(shuffling()) for _ in range(3))
    expected = drawn(whole, 12)
    assert drawn(first, number) == expected[:number]
    second.go_on(list(first.position))
    assert drawn(second, 12 - number) == expected[number:]


def test_errors():
    with pytest.raises(TypeError, match="readable more than once"):
        CycledBatches(iter([1]))
    with pytest.raises(ValueError, match="gave no batch"):
        CycledBatches([])(0)
    with pytest.raises(TypeError, match="read by index"):
        SampledBatches(iter([1]), list, 1)
    with pytest.raises(ValueError, match="is empty"):
        SampledBatches([], list, 1)
    with pytest.raises(ValueError, match="at least one example"):
        SampledBatches([1], list, 0)
