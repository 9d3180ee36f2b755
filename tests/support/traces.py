"""Everything of a model and of the process that a probe must leave bitwise as it was."""

import random
import signal

import numpy as np
import torch


def bits(tensor):
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def state(model):
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return (
        [(name, id(t), t.data_ptr(), t._version, t.stride(), t.requires_grad, bits(t)) for name, t in tensors],
        [(id(p.grad), None if p.grad is None else bits(p.grad)) for p in model.parameters()],
        [(m.training, vars(m).get("track_running_stats"), vars(m).get("momentum")) for m in model.modules()],
        random.getstate(),
        np.random.get_state()[1].tobytes(),
        bits(torch.get_rng_state()),
        signal.getsignal(signal.SIGINT),
        torch.is_grad_enabled(),
    )
