"""torch.distributed.checkpoint: a run goes on from it, on as many ranks, on others, and without any."""

import pytest
import torch
import torch.distributed.checkpoint as dcp
from parallel_loops import KINDS, SELECTIONS, Whole
from ranks import run_ranks
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from lrscape.schedulers import DistributedState

BEFORE, AFTER = 9, 6


def everything(run):
    model, optimizer = get_state_dict(run.model, run.optimizer)
    return {"model": model, "optimizer": optimizer, "scheduler": DistributedState(run.scheduler)}


def resume(run, folder):
    """Load what was saved; the fresh run's state has neither history nor momentum yet."""
    state = everything(run)
    dcp.load(state, checkpoint_id=folder)
    set_state_dict(run.model, run.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    run.number = BEFORE
    return run


def facts(run):
    state = {name: value for name, value in run.scheduler.state_dict().items() if name != "average"}
    return run.rates[-AFTER:], run.reasons, run.weights, str(state["rates"]), run.scheduler._steps


def saved(rank, ranks, kind, folder, options, families):
    found = {}
    for family in families:
        run = KINDS[kind](family, rank=rank, **options.get(family, {})).train(BEFORE)
        dcp.save(everything(run), checkpoint_id=f"{folder}/{family}")
        found[family] = facts(run.train(AFTER))
    return found


def resumed(rank, ranks, kind, folder, options, families):
    found = {}
    for family in families:
        run = KINDS[kind](family, rank=rank, **options.get(family, {}))
        found[family] = facts(resume(run, f"{folder}/{family}").train(AFTER))
    return found


def compare(found, expected):
    for family in expected:
        assert found[family][0] == expected[family][0], family
        assert found[family][1] == expected[family][1], family
        assert all(map(torch.equal, found[family][2], expected[family][2])), family
        assert found[family][3:] == expected[family][3:], family


OPTIONS = {"ValleyLR": {"rewind": True}}


@pytest.mark.parametrize("families", SELECTIONS)
@pytest.mark.parametrize("kind", ["DDP without buffers", "FSDP2"])
def test_a_run_goes_on_from_a_distributed_checkpoint(kind, families, tmp_path):
    expected = run_ranks(saved, 2, kind, tmp_path, OPTIONS, families)
    found = run_ranks(resumed, 2, kind, tmp_path, OPTIONS, families)
    for mine, its in zip(found, expected, strict=True):
        compare(mine, its)


def loaded(rank, ranks, kind, folder, families):
    """State right after loading, for comparison between numbers of ranks."""
    return {family: after_loading(resume(KINDS[kind](family, rank=rank), f"{folder}/{family}")) for family in families}


def after_loading(run):
    rates = [float(group["lr"]) for group in run.optimizer.param_groups]
    average = run.scheduler.state_dict().get("average", {"values": []})["values"]
    whole = [value.full_tensor() if hasattr(value, "full_tensor") else value for value in average]
    run.train(AFTER)
    return rates, run.reasons, run.weights, whole, run.rates


@pytest.mark.parametrize("families", SELECTIONS)
@pytest.mark.parametrize("kind", ["DDP without buffers", "FSDP2"])
@pytest.mark.parametrize("ranks", [pytest.param(4, marks=pytest.mark.slow), 1])
def test_it_can_be_loaded_onto_another_number_of_ranks(kind, ranks, families, tmp_path):
    expected = run_ranks(saved, 2, kind, tmp_path, {}, families)[0]
    if ranks == 1:
        with pytest.warns(UserWarning, match="assuming the intent is to load in a single process"):
            every = [{family: after_loading(resume(Whole(2, family), f"{tmp_path}/{family}")) for family in families}]
    else:
        every = run_ranks(loaded, ranks, kind, tmp_path, families)
    for family in families:
        rates, reasons, weights, average, later = every[0][family]
        for other in every[1:]:
            assert other[family][0] == rates
            assert other[family][4] == later, family
            assert all(map(torch.equal, other[family][2], weights)), family
            assert all(map(torch.equal, other[family][3], average)), family
        assert reasons[: len(expected[family][1])][0] == expected[family][1][0], family
        if ranks == 1 and family in {"TopoLR", "ValleyLR", "RiverLR", "InducedMetricLR"}:  # the same examples in all
            assert reasons == expected[family][1], family
            for mine, its in zip(later, expected[family][0], strict=True):
                assert mine == pytest.approx(its, rel=1e-6), family


def test_what_was_saved_must_be_there():
    one, other = Whole(1, "ValleyLR").train(3), Whole(1, "ValleyLR")
    state = DistributedState(one.scheduler).state_dict()
    DistributedState(other.scheduler).load_state_dict(state)
    assert str(other.scheduler.state_dict()) == str(one.scheduler.state_dict())
    with pytest.raises(ValueError, match="construct the scheduler as it was then"):
        DistributedState(other.scheduler).load_state_dict({"rest": state["rest"], "weights": {}})
