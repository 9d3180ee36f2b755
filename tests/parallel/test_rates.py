"""DDP and FSDP2 in real processes: one rate on all ranks to the last bit, training as if nobody measured."""

import pytest
import torch
from loops import CURVATURE, FAMILIES, PINNED
from parallel_loops import KINDS, SELECTIONS, Whole
from ranks import run_ranks

STEPS = 200
POOLED = ("TopoLR", "ValleyLR", "RiverLR", "InducedMetricLR")  # the mean over ranks is that of one large batch


def trained(rank, ranks, kind, families, steps, options):
    found = {}
    for family in families:
        run = KINDS[kind](family, rank=rank, **options).train(steps)
        saved = {name: value for name, value in run.scheduler.state_dict().items() if name != "average"}
        found[family] = run.rates, run.reasons, run.weights, str(saved)
    return found


@pytest.mark.parametrize("families", SELECTIONS)
def test_all_ranks_take_the_same_rates_under_ddp(families):
    first, second = run_ranks(trained, 2, "DDP", families, STEPS, {}, timeout=900.0)
    for family in families:
        assert first[family][:2] == second[family][:2], family
        assert len(set(map(tuple, first[family][0]))) > 1, family
        assert all(map(torch.equal, first[family][2], second[family][2])), family
        assert first[family][3] == second[family][3], family  # so that it does not matter whose state is saved


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["DDP", "FSDP2"])
def test_all_four_ranks_take_the_same_rates(kind):
    first, *others = run_ranks(trained, 4, kind, tuple(FAMILIES), STEPS, {}, timeout=900.0)
    for other in others:
        for family in FAMILIES:
            assert first[family][:2] == other[family][:2], family
            assert all(map(torch.equal, first[family][2], other[family][2])), family


@pytest.mark.parametrize("families", SELECTIONS)
def test_all_ranks_take_the_same_rates_under_fsdp2(families):
    first, second = run_ranks(trained, 2, "FSDP2", families, STEPS, {}, timeout=900.0)
    for family in families:
        assert first[family][:2] == second[family][:2], family
        assert len(set(map(tuple, first[family][0]))) > 1, family
        assert all(map(torch.equal, first[family][2], second[family][2])), family


@pytest.mark.parametrize("kind", ["DDP without buffers", "FSDP2"])
@pytest.mark.parametrize("ranks", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_follow_the_rates_of_one_process(kind, ranks):
    # By differences, so does the curvature: FSDP2 averages gradients, and the Hessian is that of all examples.
    several = CURVATURE if ranks > 2 else CURVATURE[:1]
    families = [*POOLED, *(several if kind == "FSDP2" else ())]
    found = run_ranks(trained, ranks, kind, families, 16, {})[0]
    for family in families:
        alone = Whole(ranks, family).train(16)
        tolerance = 1e-4 if family in CURVATURE else 1e-7
        for rates, expected in zip(found[family][0], alone.rates, strict=True):
            assert rates == pytest.approx(expected, rel=tolerance), family
        assert found[family][1] == alone.reasons, family


def untouched(rank, ranks, kind, families):
    plain = KINDS[kind](rank=rank).train(12).weights
    for family in families:
        run = KINDS[kind](family, rank=rank, **PINNED).train(12)
        assert all(map(torch.equal, run.weights, plain)), family
        assert len(run.scheduler.history) > 0
        if kind == "DDP":
            assert (run.wrapped.require_backward_grad_sync, run.wrapped.require_forward_param_sync) == (True, True)


@pytest.mark.parametrize("families", SELECTIONS)
@pytest.mark.parametrize("kind", ["DDP", "FSDP2"])
def test_probes_do_not_touch_training(kind, families):
    run_ranks(untouched, 2, kind, families)
