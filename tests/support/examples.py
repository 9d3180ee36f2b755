"""Models of ten kinds, each with a batch."""

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    """One head over a sequence, with dropout and a tied output."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.position = nn.Parameter(torch.randn(1, 5, 8) * 0.1)
        self.qkv = nn.Linear(8, 24)
        self.drop = nn.Dropout(0.2)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, codes):
        x = self.embed(codes) + self.position
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        return self.head(self.drop(x + F.scaled_dot_product_attention(q, k, v, is_causal=True)))


def _images():
    return torch.randn(12, 2, 8, 8), torch.randint(3, (12,))


def convolutional():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2, groups=2), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(4 * 49, 3),
    )  # fmt: skip
    return model, _images()


def tabular():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), (torch.randn(10, 4), torch.randint(3, (10,)))


def recurrent():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(4, 5, batch_first=True)
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    return Last(), (torch.randn(6, 7, 4), torch.randint(3, (6,)))


def attention():
    codes = torch.randint(11, (6, 5))
    return Attention(), (codes, codes)


def channels_last():
    model, (x, y) = convolutional()
    return model.to(memory_format=torch.channels_last), (x.to(memory_format=torch.channels_last), y)


def mixed_precision():
    model, data = tabular()
    model[0].to(torch.bfloat16)

    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model

        def forward(self, x):
            return self.body[2](self.body[1](self.body[0](x.bfloat16())).float())

    return Cast(), data


def frozen_norm():
    model, data = convolutional()
    model.train()
    model[1].eval()
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    return model, data


def compiled():
    model, data = tabular()
    return torch.compile(model, backend="eager"), data


def hooked():
    model, data = tabular()
    model[0].register_forward_hook(lambda module, args, output: output * 1.5)
    return model, data


def spectral():
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 3))
    return model, (torch.randn(10, 4), torch.randint(3, (10,)))


MODELS = {
    f.__name__: f
    for f in (
        convolutional, tabular, recurrent, attention, channels_last, mixed_precision, frozen_norm, compiled, hooked,
        spectral,
    )
}  # fmt: skip


def loss_of(model, batch):
    out = model(batch[0])
    return F.cross_entropy(out.flatten(0, -2).float(), batch[1].flatten())
