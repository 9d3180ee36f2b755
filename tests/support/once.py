"""A function that can be differentiated once, as many a hand-written kernel."""

import torch


class Once(torch.autograd.Function):
    """x³, whose gradient claims to be a constant."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, delta):
        return 3 * ctx.saved_tensors[0] ** 2 * delta
