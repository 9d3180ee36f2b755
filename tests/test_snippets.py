"""Every snippet of README and docs runs, in order, page by page; every command line parses."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrscape.cli import build_parser

ROOT = Path(__file__).parent.parent
# What a page needs that is not installed with the package.
OPTIONAL = {"integrations.md": ["lightning", "transformers", "accelerate", "tensorboard"], "seeing.md": ["plotly"]}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```(\S*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for kind, block in found if kind == language]


def surroundings():
    """What a reader of the snippets has: a model, data and functions of their own."""
    x, y = torch.randn(600, 4), torch.randint(3, (600,))  # 200 steps of three: enough for a probe
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    return {
        "torch": torch,
        "F": F,
        "nn": nn,
        "model": model,
        "x": x[:8],
        "y": y[:8],
        "loader": DataLoader(TensorDataset(x, y), batch_size=3, shuffle=True),
        "loss_fn": lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        "top1": lambda model, batch: (model(batch[0]).argmax(1) == batch[1]).float().mean(),
    }


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_snippets_run(page, tmp_path, monkeypatch):

    for package in OPTIONAL.get(page.name, []):
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "snippet", **surroundings()}
    torch.save({"state_dict": names["model"].state_dict()}, "model.pt")
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{page.name}, snippet {number + 1}", "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_parse(page):
    parser = build_parser()
    for block in blocks(page, ""):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["lrscape"]:
                parser.parse_args(words[1:])
            elif words[:1] == ["make"]:
                targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
                assert words[1] in targets


def test_links_and_images_exist():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
