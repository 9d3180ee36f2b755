"""``lrscape report``: one page, whole, escaped, and asking for nothing."""

import base64
import hashlib
import html.parser
import json
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

from lrscape.cli import main
from lrscape.cli.report_measure import hash_files
from lrscape.cli.report_page import escaped, facts, page, table
from lrscape.schedulers import TopoLR
from lrscape.viz import LIGHT

CODE = ("--model", "usercode:model", "--data", "usercode:data")
EVIL = "<script>alert('1')</script>&\"<b>"


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.links, self.words, self._skip = [], [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.tags.append(tag)
        self.sources += [told[name] for name in ("src", "data", "action", "srcset") if name in told]
        self.links += [told["href"]] if "href" in told else []
        self._skip = tag == "style"
        assert not [name for name in told if name.startswith("on")]

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        if not self._skip:
            self.words.append(data)


def read(path="report.html"):
    return Reader(Path(path).read_text(encoding="utf-8"))


@pytest.fixture
def report(user):
    def run(*arguments, checkpoints=("model.pt",)):
        return main(["report", *checkpoints, *CODE, "--grid", "5", *arguments])

    return run


def test_a_whole_page(report, user, capsys):
    assert report("--metric", "top1=usercode:top1", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    data = Path("model.pt").read_bytes()
    (told,) = record["checkpoints"]
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert (told["missing"], told["decisions"]) == ({}, 0)
    assert record["bytes"] == Path("report.html").stat().st_size
    seen = read()
    text = " ".join(seen.words)
    for part in (
        "model.pt",
        "Surface",
        "Curvature",
        "Topology",
        "Provenance",
        told["sha256"],
        "trace",
        "torch",
        "top1",
    ):
        assert part in text
    assert "lrscape report model.pt --model usercode:model" in text
    assert "Learning rate" not in text
    assert len(seen.sources) == seen.tags.count("img") == 7
    for source in seen.sources:
        kind, _, packed = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(packed).startswith(b"\x89PNG")
    assert all(link.startswith("#") for link in seen.links)
    assert "script" not in seen.tags
    assert "default-src 'none'" in Path("report.html").read_text(encoding="utf-8")
    assert plt.get_fignums() == []


def test_several_are_compared_and_the_last_gets_the_history(report, user):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = TopoLR(optimizer, model, interval=1, warmup=0)
    optimizer.step()
    scheduler.probe(lambda: model(torch.ones(2, 3)).square().mean())
    torch.save({"model": model.state_dict(), "sched": scheduler.state_dict()}, "other.pt")
    assert report("--no-curvature", "--quiet", "--linear", "--dark", checkpoints=("model.pt", "other.pt")) == 0
    text = " ".join(read().words)
    assert "The surfaces on one scale of colours." in text
    assert "The learning rate, 1 decision, from the scheduler's state in the checkpoint." in text
    assert "Curvature" not in text
    scheduler.history.to_jsonl("run.jsonl")
    Path("elsewhere").mkdir()
    Path("run.jsonl").rename("elsewhere/run.jsonl")
    assert report("--no-curvature", "--history", "elsewhere/run.jsonl", "-o", "b.html", "--quiet") == 0
    assert "The learning rate, 1 decision, from elsewhere/run.jsonl." in " ".join(read("b.html").words)


def test_a_history_beside_the_checkpoints_goes_to_the_last_one(report, user, capsys):
    Path("b.pt").write_bytes(Path("model.pt").read_bytes())
    decision = {"step": 3, "measurement": {"loss": 1.0}, "factors": [1.0], "reason": "flat", "rates": [0.1]}
    Path("decisions.jsonl").write_text(json.dumps({"name": "a", **decision}) + "\n")
    assert report("--no-curvature", "--json", checkpoints=("model.pt", "b.pt")) == 0
    told = json.loads(capsys.readouterr().out)["checkpoints"]
    assert [one["history"] for one in told] == [None, "decisions.jsonl"]
    assert " ".join(read().words).count("The learning rate, 1 decision, from decisions.jsonl.") == 1
    Path("other.jsonl").write_text(json.dumps(decision))
    assert report("--no-curvature", "--json", "--overwrite") == 0
    (found,) = json.loads(capsys.readouterr().out)["checkpoints"]
    assert "hold decisions: decisions.jsonl, other.jsonl; choose one with --history" in found["missing"]["history"]
    assert "history is not shown: several files beside the checkpoint" in " ".join(read().words)
    assert report("--no-curvature", "--overwrite", "--history", "other.jsonl") == 0
    assert "history   of model.pt: other.jsonl\n" in capsys.readouterr().out


def test_what_it_prints_is_escaped(report, user, capsys):
    name = "<b onclick=x>&\"'$_.pt"
    Path(name).write_bytes(Path("model.pt").read_bytes())
    options = ("--metric", "<i>$x$=usercode:top1", "--title", EVIL, "--no-curvature", "--quiet")
    assert report(*options, checkpoints=(name,)) == 0
    seen = read()
    text = "".join(seen.words)
    assert EVIL in text
    assert name in text
    assert "<i>$x$" in text
    assert not {"script", "b", "i"} & set(seen.tags)


def test_what_cannot_be_measured_is_named(report, user, capsys):
    assert report("--loss", "usercode:infinite", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["checkpoints"]
    assert "has no curvature" in told["missing"]["curvature"]
    text = " ".join(read().words)
    assert "The Hessian is not shown:" in text
    assert "No figure" in text


def test_an_exhausted_memory_costs_one_part_of_the_page(report, user, monkeypatch, capsys):
    from lrscape.cli import curvature_estimates

    def exhausted(*_):
        raise MemoryError("8 GiB")

    monkeypatch.setattr(curvature_estimates, "estimate", exhausted)
    assert report("--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["checkpoints"]
    assert told["missing"] == {"curvature": "8 GiB"}
    assert {"Surface", "Topology"} < set(read().words)


def test_directions_are_those_of_the_options(user, capsys):
    torch.save({"scale": torch.ones(3)}, "scale.pt")
    code = ["scale.pt", "--model", "usercode:Scale", "--data", "usercode:data"]
    for command in (["report", "--no-curvature"], ["probe"]):
        assert main([*command, *code, "--grid", "3"]) == 1
        err = capsys.readouterr().err
        assert err.endswith("every parameter that moves is 0-d or 1-D. Pass --bias match to move them.\n")
    assert main(["report", *code, "--no-curvature", "--grid", "3", "--bias", "match", "--orthogonal"]) == 0
    text = " ".join(read().words)
    assert "bias match" in text
    assert "orthogonal true" in text


def test_it_refuses_to_overwrite(report, user, capsys):
    Path("report.html").write_text("older")
    assert report("--no-curvature") == 1
    assert "report.html exists already; choose another --out, or pass --overwrite" in capsys.readouterr().err
    assert Path("report.html").read_text() == "older"
    assert report("--no-curvature", "--overwrite", "--quiet") == 0
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["-o", "report.pdf"], 2, "--out must end in .html"),
        (["--grid", "4"], 2, "must be odd"),
        (["--history", "none.jsonl"], 1, "there is no history none.jsonl"),
        (["--history", "usercode.py"], 1, "usercode.py, line"),
        (["-o", "usercode.py/a.html"], 1, "cannot write"),
        (["--parameters", "nose"], 1, "'nose'"),
    ],
)
def test_bad_arguments(report, capsys, arguments, code, part):
    assert report(*arguments) == code
    assert part in capsys.readouterr().err
    assert not list(Path().glob("*.html"))


def test_a_failure_on_the_way_leaves_no_page(report, user, capsys):
    assert report("--quiet", checkpoints=("model.pt", "none.pt")) == 1
    assert "none.pt" in capsys.readouterr().err
    assert not list(Path().glob("*.html"))


def test_folders_are_hashed_with_their_names(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"12")
    assert hash_files(tmp_path / "a") == hash_files(tmp_path / "b")
    (tmp_path / "b" / "x").rename(tmp_path / "b" / "y")
    assert hash_files(tmp_path / "a")[0] != hash_files(tmp_path / "b")[0]
    assert hash_files(tmp_path / "a" / "x") == (hashlib.sha256(b"12").hexdigest(), 2)


def test_the_pieces_of_a_page():
    seen = Reader(page(EVIL, facts([(EVIL, EVIL)]) + table([EVIL], [[EVIL], [""]]), LIGHT))
    assert [word for word in seen.words if word.strip()] == [EVIL, EVIL, EVIL, EVIL, EVIL, "–"]
    assert escaped("a\x00b\ud800c") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert escaped("1\N{NO-BREAK SPACE}kg\N{IDEOGRAPHIC SPACE}\n") == "1\N{NO-BREAK SPACE}kg\N{IDEOGRAPHIC SPACE}\n"
    assert escaped("a\N{RIGHT-TO-LEFT OVERRIDE}b\x85\N{LINE SEPARATOR}") == "a{0}b{0}{0}".format("\ufffd")
