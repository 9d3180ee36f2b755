"""Kill a scan with SIGKILL at random moments, go on from its file each time, and compare with one never killed.

    python killed_scan.py FOLDER MOMENTS SEED

Prints one JSON object. A process of its own, because it forks: the children need not load torch again.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrscape.landscape import Objective, evaluate, grid, random_directions, scan_state


def loss(model, batch):
    return F.cross_entropy(model(batch[0] + 0.1 * torch.randn_like(batch[0])), batch[1])


def main():
    folder, moments, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)  # a forked child cannot use its parent's threads
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, 5))
    data = TensorDataset(torch.randn(96, 16), torch.randint(5, (96,)))
    directions, where = random_directions(model, 2), grid(61)
    scan_state.BETWEEN_SAVES, scan_state.SAVING = 0.01, 1e9
    file, out = folder / "scan.partial", folder.parent / f"{folder.name}.npy"

    def scan(partial):
        loader = DataLoader(data, batch_size=32, shuffle=True)
        return evaluate(model, Objective(loss, loader), directions, where, engine="inplace", partial=partial)

    start = time.monotonic()
    whole = scan(None)
    seconds = time.monotonic() - start
    moment, kills, resumed = random.Random(seed), 0, 0
    while kills < moments:
        child = os.fork()
        if child == 0:
            torch.manual_seed(kills)  # every process has a random state of its own
            if not file.exists():
                torch.manual_seed(1)
            surface = scan(file)
            np.save(out, surface.losses)
            os._exit(0)
        time.sleep(moment.uniform(0.0, 2.5 * seconds / moments))
        if os.waitpid(child, os.WNOHANG)[0] == 0:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
        elif kills < moments:  # it was done before its time: start anew
            file.unlink()
    torch.manual_seed(1)
    reference = scan(None)
    surface = scan(file)
    resumed = surface.provenance.get("resumed", 0)
    same = bool(np.array_equal(surface.losses, reference.losses))
    different_draws = not np.array_equal(whole.losses, reference.losses)
    left = sorted(path.name for path in folder.iterdir())
    found = {"kills": kills, "same": same and different_draws, "resumed": resumed, "left_behind": left}
    sys.stdout.write(json.dumps(found))


main()
