"""Squared gradients of the head, example by example, in closed form."""

from __future__ import annotations

from torch import Tensor, nn

from .head_loss import check_layout, head_loss, mean_over, squared_inputs, squared_length


def sasp(
    logits: Tensor,
    features: Tensor,
    targets: Tensor,
    *,
    bias: bool = True,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute the trace of the empirical Fisher matrix of a linear head under cross-entropy, without a second pass.

    R = mean_i |s_i·p_i − t_i|²·(|h_i|² + 1[bias]) = mean_i |∇_head ℓ_i|²

    Source: SASP, Patil 2026, doi:10.5281/zenodo.20480620. There t is the one-hot label and s = 1; here t also carries
    class weights, label smoothing and soft targets, as ``torch.nn.functional.cross_entropy`` does, and ℓ_i is its loss
    with ``reduction="none"``. Every position of a sequence is an example; the mean is over those that are not ignored,
    and 0 if all are. The published text calls R a bound on the Hessian, which it is not: see
    :func:`~lrscape.penalties.head_hessian_trace`.

    Args:
        logits: Output of the head, (N, C) or (N, C, d1, …).
        features: Its input, (N, F) or (N, F, d1, …). Gradients flow into both.
        targets: Class indices (N, d1, …), or probabilities of the shape of the logits.
        bias: Whether the head has a bias.
        weight: Weight of each class, (C,).
        ignore_index: Class index of positions that do not count.
        label_smoothing: In [0, 1].

    Returns:
        R, 0-d, in single precision at least. The published coefficient is ρ = 1e-2.

    Raises:
        ValueError: If shapes do not fit.
        TypeError: If targets are of another kind.

    Example:
        >>> import torch
        >>> sasp(torch.zeros(1, 2), torch.tensor([[2.0]]), torch.tensor([0]))  # (1/4 + 1/4)·(4 + 1)
        tensor(2.5000)
    """
    check_layout(logits, features)
    head = head_loss(logits, targets, weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing)
    return mean_over(squared_length(head.residual) * squared_inputs(features, bias), head.counted)


class SASP(nn.Module):
    """Hold the options of :func:`sasp`; add a multiple of what it returns to the loss.

    R = mean_i |s_i·p_i − t_i|²·(|h_i|² + 1[bias])

    Source: Patil 2026, doi:10.5281/zenodo.20480620.

    Args:
        bias: Whether the head has a bias.
        weight: Weight of each class, (C,); a buffer, as in ``torch.nn.CrossEntropyLoss``.
        ignore_index: Class index of positions that do not count.
        label_smoothing: In [0, 1].

    Example:
        >>> import torch
        >>> SASP(bias=False)(torch.zeros(1, 2), torch.tensor([[2.0]]), torch.tensor([0]))
        tensor(2.)
    """

    weight: Tensor | None

    def __init__(
        self,
        *,
        bias: bool = True,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.bias = bias
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Compute R.

        Args:
            logits: (N, C) or (N, C, d1, …).
            features: (N, F) or (N, F, d1, …).
            targets: Class indices, or probabilities.

        Returns:
            R, 0-d.
        """
        return sasp(
            logits,
            features,
            targets,
            bias=self.bias,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )
