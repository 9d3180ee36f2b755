"""
Schedule a training run by the landscape
========================================

A training loop, a rate that is too high, and three ways to let measurements lower it. At the end: how a run
is stopped and goes on.
"""

# %%
# The task is scikit-learn's handwritten digits with a fifth of the training labels wrong, which keeps the end
# interesting: a rate that does not fall lets the network chase the wrong labels.

import io

import torch
import torch.nn.functional as F

from lrscape import viz
from lrscape.cli import digits
from lrscape.schedulers import HomotopyLR, TopoLR, ValleyLR

data, labels = digits.digits(), digits.noisy_labels()


def test_loss(model):
    model.eval()
    with torch.no_grad():
        found = F.cross_entropy(model(data.x_test), data.y_test).item()
    model.train()
    return found


# %%
# The loop
# --------
# A scheduler of this package is a torch scheduler with one more call: ``probe`` takes a function that computes
# the loss, and measures when it is due. Whatever it does, weights, gradients, BatchNorm statistics and random
# numbers are afterwards bitwise what they were; so the only difference to a loop without it is the learning
# rate.


def train(make_scheduler, lr, steps=480):
    torch.manual_seed(0)
    model = digits.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    scheduler = make_scheduler(optimizer, model)
    losses = []
    for step in range(steps):
        chosen = torch.randint(len(labels), (64,))
        x, y = data.x[chosen], labels[chosen]
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if hasattr(scheduler, "probe"):
            scheduler.probe(lambda x=x, y=y: F.cross_entropy(model(x), y))
        scheduler.step()
        if step % 20 == 19:
            losses.append(test_loss(model))
    return model, optimizer, scheduler, losses


def constant(optimizer, _model):
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)


# %%
# Four runs
# ---------
# ``TopoLR`` takes the rate you would take as the peak and lowers it with the curvature of random planes.
# ``HomotopyLR`` holds the rate below the edge of stability, which it finds from a few Hessian-vector products.
# ``ValleyLR`` needs no rate: it climbs from a tiny one until the iterates leave the floor of the valley, and
# holds what it finds. It also averages the iterates; ``scheduler.averaged()`` evaluates the average.

runs = {
    "constant 2e-2": train(constant, 2e-2),
    "TopoLR from 2e-2": train(lambda o, m: TopoLR(o, m, interval=25, warmup=25), 2e-2),
    "HomotopyLR from 2e-2": train(lambda o, m: HomotopyLR(o, m, interval=50), 2e-2),
    "ValleyLR": train(ValleyLR, 1e-3),
}
at = range(20, 481, 20)
viz.curves({name: (at, losses) for name, (*_, losses) in runs.items()}, ylabel="test loss")

# %%
# One seed proves nothing about which is best; that takes the :doc:`study </benchmarks>`, where a cosine tuned
# for the horizon is hard to beat.

# %%
# Why did the rate change?
# ------------------------
# Every decision is in the history, with its reason and what was measured.

topo = runs["TopoLR from 2e-2"][2]
for decision in topo.history[:4]:
    print(decision.step, decision.reason, [f"{rate:.4f}" for rate in decision.rates])
viz.lr_trace(topo)

# %%
# The average of ValleyLR
# -----------------------
# A rate that is held is too high to end with. The running average is where the run is heading.

model, _, valley, losses = runs["ValleyLR"]
with valley.averaged():
    print(f"last iterate {losses[-1]:.3f}, average {test_loss(model):.3f}")

# %%
# Stop and go on
# --------------
# ``state_dict`` holds everything, and loads with ``weights_only=True``. A resumed run is bitwise the
# uninterrupted one.

model, optimizer, scheduler, _ = runs["HomotopyLR from 2e-2"]
file = io.BytesIO()
torch.save([model.state_dict(), optimizer.state_dict(), scheduler.state_dict()], file)
file.seek(0)
states = torch.load(file, weights_only=True)
again = digits.model()
again_optimizer = torch.optim.AdamW(again.parameters(), 2e-2)
again_scheduler = HomotopyLR(again_optimizer, again, interval=50)
for target, state in zip((again, again_optimizer, again_scheduler), states, strict=True):
    target.load_state_dict(state)
print(again_scheduler.get_last_lr() == scheduler.get_last_lr())
