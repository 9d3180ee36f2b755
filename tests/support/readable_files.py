"""Files of every kind that the package reads, sound and hostile, and what reads them."""

import io
import json
import os
import pickle
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import save as save_safetensors
from torch import nn

from lrscape.landscape import Directions, LossSurface, grid, load_checkpoint, random_directions
from lrscape.landscape.engines import Choice
from lrscape.landscape.partial_scan import PartialScan
from lrscape.schedulers import Decision, History


@dataclass
class Seeds:
    """Contents to start from: ``sound`` of them can be loaded, the others must be refused."""

    name: str
    files: list
    sound: int
    folder: list


class Runs:
    """A pickle that calls something when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def hostile(state):
    return [
        {"state_dict": state, "x": Runs(os.mkdir, "made-by-a-checkpoint")},
        {"state_dict": state, "x": Runs(os.system, "touch made-by-a-checkpoint")},
        Runs(eval, "__import__('os').mkdir('made-by-a-checkpoint')"),
        {"state_dict": state, "x": Runs(torch.load, "made-by-a-checkpoint")},
        {"state_dict": state, "x": Runs(getattr, Runs(__import__, "os"), "system")},
    ]


def saved(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _load(path):
    load_checkpoint(model(), path)


def _torch(place, zipped):
    state = model().state_dict()
    contents = [{"state_dict": state, "epoch": 3}, state, {"model": state, "optim": [1.0, "x", None, (2, 3)]}]
    files = [saved(content, _use_new_zipfile_serialization=zipped) for content in [*contents, *hostile(state)]]
    return Seeds("model.pt", files, len(contents), ["model.pt"]), _load


def archive(place):
    return _torch(place, True)


def legacy(place):
    return _torch(place, False)


def plain_pickle(place):
    return Seeds("model.pkl", [pickle.dumps(content) for content in hostile(None)], 0, ["model.pkl"]), _load


def safetensors(place):
    state = model().state_dict()
    return Seeds("model.safetensors", [save_safetensors(state, {"a": "b"})], 1, ["model.safetensors"]), _load


def sharded(place):
    state = {name: value.clone() for name, value in model().state_dict().items()}
    names = list(state)
    shards = {"one.safetensors": names[:4], "two.safetensors": names[4:]}
    for shard, keys in shards.items():
        (place / shard).write_bytes(save_safetensors({key: state[key] for key in keys}))
    index = {"metadata": {"total_size": 1}, "weight_map": {key: name for name, keys in shards.items() for key in keys}}
    name = "model.safetensors.index.json"
    seeds = Seeds(name, [json.dumps(index).encode()], 1, sorted([name, *shards]))
    return seeds, lambda path: load_checkpoint(model(), path.parent)


def distributed(place):
    from torch.distributed import checkpoint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.distributed is not initialised
        checkpoint.save({"model": model().state_dict(), "epoch": 3}, checkpoint_id=place, no_dist=True)
    sound = (place / ".metadata").read_bytes()
    files = [sound, *(pickle.dumps(content) for content in hostile(None))]
    there = sorted(entry.name for entry in place.iterdir())
    return Seeds(".metadata", files, 1, there), lambda path: load_checkpoint(model(), path.parent)


def shards_of_ranks(place):
    seeds, load = distributed(place)
    name = next(name for name in seeds.folder if name.endswith(".distcp"))
    return Seeds(name, [(place / name).read_bytes()], 1, seeds.folder), load


def _written(place, value):
    value.save(place / "seed")
    content = (place / "seed").read_bytes()
    (place / "seed").unlink()
    return content


def surface(place):
    points = grid(3)
    made = LossSurface(
        points.coordinates, np.arange(9.0), points.shape, {"accuracy": np.ones(9)}, np.ones(9), {"seed": 1, "a": [2]}
    )
    line = LossSurface(np.zeros((2, 1)), np.full(2, np.nan))
    hidden = io.BytesIO()
    np.savez(hidden, header=np.array([Runs(os.mkdir, "made-by-an-array")], dtype=object))
    files = [_written(place, made), _written(place, line), hidden.getvalue()]
    return Seeds("surface.npz", files, 2, ["surface.npz"]), lambda path: repr(LossSurface.load(path))


def partial_scan(place):
    values = np.ones((5, 9, 2))
    made = PartialScan({"model": "x"}, Choice("inplace", 4), [{"a": [1]}], np.arange(9) < 4, values, 3)
    return Seeds("scan.partial", [_written(place, made)], 1, ["scan.partial"]), PartialScan.load


def directions(place):
    made = random_directions(model(), 2)
    return Seeds("directions.npz", [_written(place, made)], 1, ["directions.npz"]), Directions.load


def history(place):
    made = History(10)
    for step in range(4):
        made.append(
            Decision(step, {"loss": float("nan") if step == 2 else 0.5, "sharpness": 1.0}, [1.0], "flat", [0.1])
        )
    made.to_jsonl(place / "seed")
    content = (place / "seed").read_bytes()
    (place / "seed").unlink()
    return Seeds("history.jsonl", [content, b""], 2, ["history.jsonl"]), History.from_jsonl


KINDS = {
    kind.__name__: kind
    for kind in (
        archive, legacy, plain_pickle, safetensors, sharded, distributed, shards_of_ranks, surface, partial_scan,
        directions, history,
    )
}  # fmt: skip
