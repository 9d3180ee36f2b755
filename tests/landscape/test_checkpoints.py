"""Checkpoints of every kind load, those that do not fit say why, and nothing in them is ever executed."""

import argparse
import copy
import json
import os
import pickle
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from lrscape.landscape import load_checkpoint, read_checkpoint


class Net(nn.Module):
    def __init__(self, width=3, classes=2):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
        self.head = nn.Linear(width, classes)


class Holder(nn.Module):
    def __init__(self, inner, name="net"):
        super().__init__()
        self.add_module(name, inner)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def trained(seed=1, **kwargs):
    torch.manual_seed(seed)
    net = Net(**kwargs)
    net.body[1].running_mean.normal_()
    net.body[1].num_batches_tracked.fill_(7)
    return net


def bits(model):
    return {name: (value.clone(), value.data_ptr()) for name, value in model.state_dict().items()}


def assert_unchanged(model, before):
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.data_ptr() == before[name][1]


def assert_same(model, source):
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def fails(model, path, *parts, error=ValueError, **kwargs):
    before = bits(model)
    with pytest.raises(error) as caught:
        load_checkpoint(model, path, **kwargs)
    message = str(caught.value)
    for part in (Path(path).name, *parts):
        assert part in message, message
    assert_unchanged(model, before)
    return message


@pytest.mark.parametrize(
    "key", [None, "state_dict", "model", "model_state_dict", "model_state", "net", "module", "params.ema", "generator"]
)
def test_weights_are_found_wherever_they_are(tmp_path, key):
    source, path = trained(), tmp_path / "c.pt"
    content = source.state_dict()
    for part in reversed(key.split(".") if key else []):
        content = {"epoch": 3, "loss": 0.5, part: content, "optimizer": {"state": {0: {"m": torch.ones(2)}}}}
    torch.save(content, path)
    report = load_checkpoint(net := Net(), path)
    assert_same(net, source)
    assert (report.key, report.format, report.stripped, report.added, report.loaded) == (key, "torch", "", "", 9)
    assert str(report) == "9 tensors" + (f", under {key!r}" if key else "")


def test_the_format_before_torch_1_6(tmp_path):
    source, path = trained(), tmp_path / "old.pth"
    torch.save(source.state_dict(), path, _use_new_zipfile_serialization=False)
    load_checkpoint(net := Net(), path)
    assert_same(net, source)


def test_lightning(tmp_path):
    source, path = trained(), tmp_path / "last.ckpt"
    state = {f"model.{name}": value for name, value in source.state_dict().items()}
    torch.save(
        {
            "epoch": 2,
            "global_step": 20,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": {**state, "criterion.weight": torch.ones(2)},
            "loops": {"fit_loop": {"state_dict": {}}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
            "hyper_parameters": {"width": 3},
        },
        path,
    )
    report = load_checkpoint(net := Net(), path)
    assert_same(net, source)
    assert (report.key, report.stripped, report.outside) == ("state_dict", "model.", ("criterion.weight",))
    assert "prefix 'model.' stripped" in str(report)
    assert "criterion.weight" in str(report)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "some.thing.else_."]
)
def test_the_prefix_that_fits_is_stripped(tmp_path, prefix):
    source, path = trained(), tmp_path / "c.pt"
    torch.save({prefix + name: value for name, value in source.state_dict().items()}, path)
    report = load_checkpoint(net := Net(), path)
    assert_same(net, source)
    assert (report.stripped, report.added) == (prefix, "")


def test_a_wrapped_model_gains_a_prefix(tmp_path):
    source, path = trained(), tmp_path / "c.pt"
    torch.save(source.state_dict(), path)
    wrapped = nn.DataParallel(Net())
    report = load_checkpoint(wrapped, path)
    assert_same(wrapped.module, source)
    assert (report.stripped, report.added) == ("", "module.")
    assert "prefix 'module.' added" in str(report)


def test_one_prefix_for_another(tmp_path):
    source, path = trained(), tmp_path / "c.pt"
    torch.save(nn.DataParallel(source).state_dict(), path)
    held = Holder(Net())
    report = load_checkpoint(held, path)
    assert_same(held.net, source)
    assert (report.stripped, report.added) == ("module.", "net.")


def test_wrappers_inside_the_names(tmp_path):
    source, path = trained(), tmp_path / "c.pt"
    state = {name.replace("head.", "head._orig_mod."): value for name, value in source.state_dict().items()}
    torch.save({f"module.{name}": value for name, value in state.items()}, path)
    report = load_checkpoint(net := Net(), path)
    assert_same(net, source)
    assert report.unwrapped == ("_orig_mod", "module")
    assert "_orig_mod" in str(report)


def test_compiled_model_both_ways(tmp_path):
    source, path = trained(), tmp_path / "c.pt"
    compiled = torch.compile(source, backend="eager")
    torch.save(compiled.state_dict(), path)
    report = load_checkpoint(net := Net(), path)
    assert report.stripped == "_orig_mod."
    assert_same(net, source)
    torch.save(source.state_dict(), path)
    target = torch.compile(Net(), backend="eager")
    assert load_checkpoint(target, path).added == "_orig_mod."
    assert_same(target._orig_mod, source)


def test_a_part_of_a_larger_model_only_on_request(tmp_path):
    student, teacher, path = trained(1), trained(2), tmp_path / "c.pt"
    state = {f"student.{k}": v for k, v in student.state_dict().items()}
    state |= {f"teacher.{k}": v for k, v in teacher.state_dict().items()}
    torch.save(state, path)
    fails(Net(), path, "'student.' or 'teacher.'", "prefix=", "--prefix")
    report = load_checkpoint(net := Net(), path, prefix="teacher.")
    assert_same(net, teacher)
    assert report.stripped == "teacher."
    assert len(report.outside) == 9
    fails(Net(), path, "prefix='tutor.'", prefix="tutor.")


def test_a_layer_of_a_checkpoint_is_not_mistaken_for_the_model(tmp_path):
    torch.save(trained().state_dict(), tmp_path / "c.pt")
    fails(nn.Linear(4, 3), tmp_path / "c.pt", "'body.0.'", "prefix=")


def test_several_sets_of_weights(tmp_path):
    first, second, path = trained(1), trained(2), tmp_path / "c.pt"
    torch.save({"generator": first.state_dict(), "average": {"ema": second.state_dict()}}, path)
    fails(Net(), path, "'generator'", "'average.ema'", "key=", "--key")
    report = load_checkpoint(net := Net(), path, key="average.ema")
    assert report.key == "average.ema"
    assert_same(net, second)
    fails(Net(), path, "no key 'avg'", "generator, average", key="avg")
    torch.save({"model": first.state_dict(), "ema": second.state_dict()}, path)
    report = load_checkpoint(net := Net(), path, key="ema")
    assert report.key == "ema"
    assert_same(net, second)


def test_misfit_lists_keys_and_shapes(tmp_path):
    path = tmp_path / "c.pt"
    state = {f"module.{name}": value for name, value in trained(classes=5).state_dict().items()}
    state["module.extra.weight"] = state.pop("module.body.0.bias")
    torch.save(state, path)
    fails(
        Net(),
        path,
        "does not fit Net",
        "'module.'",
        "missing keys: 1 (body.0.bias)",
        "unexpected keys: 1 (module.extra.weight)",
        "other shapes: 2 (head.weight: (5, 3) in the checkpoint, (2, 3) in the model",
    )
    many = nn.Sequential(*[nn.Linear(1, 1) for _ in range(10)])
    fails(many, path, "missing keys: 20 (0.weight, 0.bias, 1.weight, 1.bias, 2.weight and 15 more)")


def test_not_strict_loads_what_fits(tmp_path):
    source, path = trained(), tmp_path / "c.pt"
    state = source.state_dict()
    state["extra"] = state.pop("head.bias")
    torch.save(state, path)
    report = load_checkpoint(net := Net(), path, strict=False)
    assert torch.equal(net.head.weight, source.head.weight)
    assert (report.missing, report.unexpected, report.loaded) == (("head.bias",), ("extra",), 8)
    assert "missing: 1 (head.bias)" in str(report)
    fails(Net(classes=4), path, "other shapes", strict=False)
    torch.save({"nothing": torch.ones(1)}, path)
    fails(Net(), path, strict=False)


def test_tied_parameters_and_counters_may_be_missing(tmp_path):
    torch.manual_seed(1)
    source, path = Tied(), tmp_path / "c.pt"
    torch.save({"embed.weight": source.embed.weight.detach()}, path)
    load_checkpoint(net := Tied(), path)
    assert torch.equal(net.head.weight, source.embed.weight)
    torch.save({"head.weight": source.embed.weight.detach()}, path)
    load_checkpoint(net := Tied(), path)
    assert torch.equal(net.embed.weight, source.embed.weight)
    state = {k: v for k, v in trained().state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save({f"module.{k}": v for k, v in state.items()}, path)
    report = load_checkpoint(net := Net(), path)
    assert report.stripped == "module."
    assert torch.equal(net.body[1].running_mean, trained().body[1].running_mean)


def test_module_that_renames_old_keys_itself(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = nn.utils.weight_norm(nn.Linear(3, 2))
    torch.save(old.state_dict(), tmp_path / "c.pt")
    new = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    load_checkpoint(new, tmp_path / "c.pt")
    assert torch.allclose(new.weight, old.weight)
    torch.save({"bias": torch.zeros(2)}, tmp_path / "c.pt")
    fails(new, tmp_path / "c.pt", "missing keys")


def test_dtypes_are_the_models(tmp_path):
    source = trained()
    torch.save(source.state_dict(), tmp_path / "c.pt")
    net = Net().to(torch.bfloat16)
    load_checkpoint(net, tmp_path / "c.pt")
    assert net.head.weight.dtype == torch.bfloat16
    assert torch.equal(net.head.weight, source.head.weight.bfloat16())


def test_an_error_while_copying_is_undone(tmp_path, monkeypatch):
    torch.save(trained().state_dict(), tmp_path / "c.pt")
    net = Net()
    monkeypatch.setattr(
        net.head, "_load_from_state_dict", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt), raising=True
    )
    before = bits(net)
    with pytest.raises(KeyboardInterrupt):
        load_checkpoint(net, tmp_path / "c.pt")
    assert_unchanged(net, before)


# --- safetensors and folders ---


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    source = trained()
    for path in (tmp_path / "m.safetensors", tmp_path / "without_suffix"):
        safetensors.save_file({f"module.{k}": v for k, v in source.state_dict().items()}, path)
        report = load_checkpoint(net := Net(), path)
        assert_same(net, source)
        assert (report.format, report.stripped) == ("safetensors", "module.")
    path = tmp_path / "m.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    fails(Net(), path, "damaged")


def test_safetensors_not_installed(tmp_path, monkeypatch):
    (tmp_path / "m.safetensors").write_bytes(b"x" * 100)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    fails(Net(), tmp_path / "m.safetensors", "pip install lrscape[safetensors]", error=ImportError)


def save_shards(folder, state, save, name):
    names = list(state)
    parts = {f"part-{i}-{name}": names[i::2] for i in range(2)}
    for file, keys in parts.items():
        save({key: state[key] for key in keys}, folder / file)
    index = {"metadata": {}, "weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (folder / f"{name}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_transformers_folder(tmp_path, name, sharded):
    safetensors = pytest.importorskip("safetensors.torch")
    save = safetensors.save_file if name.endswith("safetensors") else torch.save
    source = trained()
    (tmp_path / "config.json").write_text("{}")
    if sharded:
        save_shards(tmp_path, source.state_dict(), save, name)
    else:
        save(source.state_dict(), tmp_path / name)
    report = load_checkpoint(net := Net(), tmp_path)
    assert_same(net, source)
    assert report.format == "transformers"
    if sharded:
        (tmp_path / f"part-1-{name}").unlink()
        fails(Net(), tmp_path, f"part-1-{name}", error=FileNotFoundError)
        (tmp_path / f"{name}.index.json").write_text(json.dumps({"weight_map": {"a": "../secret.bin"}}))
        fails(Net(), tmp_path, "../secret.bin")
        (tmp_path / f"{name}.index.json").write_text("{")
        fails(Net(), tmp_path, "not the index")


def test_folder_without_checkpoint(tmp_path):
    fails(Net(), tmp_path, "holds no checkpoint", "nothing")
    (tmp_path / "epoch_3.pt").touch()
    fails(Net(), tmp_path, "epoch_3.pt", "name the file itself")


def save_distributed(folder, content):
    from torch.distributed import checkpoint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.distributed is not initialised
        checkpoint.save(content, checkpoint_id=folder, no_dist=True)


@pytest.mark.parametrize("key", [None, "model", "app.model"])
def test_distributed_checkpoint(tmp_path, key):
    source = trained()
    optimizer = torch.optim.AdamW(source.parameters())
    sum(p.sum() for p in source.parameters()).backward()
    optimizer.step()
    content = source.state_dict()
    for part in reversed(key.split(".") if key else []):
        content = {part: content, "optim": optimizer.state_dict(), "epoch": 3, "note": Path("x")}
    save_distributed(tmp_path / "step-10", content)
    report = load_checkpoint(net := Net(), tmp_path / "step-10")
    assert_same(net, source)
    assert (report.format, report.key, report.loaded) == ("distributed", key, 9)
    assert "optim" not in read_checkpoint(tmp_path / "step-10").get("app", read_checkpoint(tmp_path / "step-10"))


def test_distributed_checkpoint_is_never_unpickled_freely(tmp_path):
    folder, created = tmp_path / "dcp", str(tmp_path / "created")
    source = trained()
    save_distributed(folder, {"model": source.state_dict(), "evil": Hostile(created)})
    load_checkpoint(net := Net(), folder)  # the entry is skipped: torch would unpickle it without restriction
    assert_same(net, source)
    (folder / ".metadata").write_bytes(pickle.dumps(Hostile(created)))
    fails(Net(), folder, "mkdir", "could run any code")
    fails(Net(), folder, "mkdir", unsafe=True)
    assert not Path(created).exists()


def test_damaged_distributed_checkpoint(tmp_path):
    save_distributed(tmp_path / "dcp", trained().state_dict())
    data = next((tmp_path / "dcp").glob("*.distcp"))
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    fails(Net(), tmp_path / "dcp", "cannot be read")
    data.unlink()
    fails(Net(), tmp_path / "dcp", data.name, error=FileNotFoundError)
    (tmp_path / "dcp" / ".metadata").write_bytes(b"")
    fails(Net(), tmp_path / "dcp", "cannot be read")


def test_distributed_checkpoint_stays_in_its_folder(tmp_path):
    save_distributed(tmp_path / "dcp", trained().state_dict())
    metadata = tmp_path / "dcp" / ".metadata"
    name = next((tmp_path / "dcp").glob("*.distcp")).name
    metadata.write_bytes(metadata.read_bytes().replace(name.encode(), b"../" + name[3:].encode()))
    fails(Net(), tmp_path / "dcp", "outside of the folder")


# --- what must not be executed, and what cannot be read ---


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_hostile_pickle_is_refused_and_not_run(tmp_path, form):
    path, created = tmp_path / "evil.pt", tmp_path / "created"
    content = {"state_dict": trained().state_dict(), "callback": Hostile(str(created))}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    fails(Net(), path, "mkdir", "unsafe=True", "--unsafe-load")
    assert not created.exists()
    load_checkpoint(net := Net(), path, unsafe=True)
    assert_same(net, trained())
    assert created.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_whole_module(tmp_path, legacy):
    source, path = trained(), tmp_path / "whole.pt"
    torch.save({"model": source, "epoch": 1}, path, _use_new_zipfile_serialization=not legacy)
    fails(Net(), path, "torch.nn.modules", "Net", "save model.state_dict() instead of the model", "--unsafe-load")
    report = load_checkpoint(net := Net(), path, unsafe=True)
    assert_same(net, source)
    assert report.key == "model"
    torch.save(source, path)
    report = load_checkpoint(net := Net(), path, unsafe=True)
    assert report.key is None


def test_other_objects_are_named(tmp_path):
    torch.save({"state_dict": trained().state_dict(), "args": argparse.Namespace(lr=1)}, tmp_path / "c.pt")
    fails(Net(), tmp_path / "c.pt", "argparse.Namespace", "save tensors and numbers only")


def test_class_that_is_not_there(tmp_path):
    path = tmp_path / "c.pt"
    path.write_bytes(pickle.dumps({"x": argparse.Namespace()}, protocol=2).replace(b"argparse", b"argpurse"))
    fails(Net(), path, "argpurse.Namespace")
    fails(Net(), path, "cannot be imported here", "argpurse", unsafe=True)


def test_torchscript(tmp_path):
    source, path = trained(), tmp_path / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.script(nn.Sequential(copy.deepcopy(source.body))).save(str(path))
    target = nn.Sequential(Net().body)
    fails(target, path, "TorchScript", "--unsafe-load")
    assert load_checkpoint(target, path, unsafe=True).format == "torchscript"
    assert torch.equal(target[0][0].weight, source.body[0].weight)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
@pytest.mark.parametrize("unsafe", [False, True])
def test_truncated(tmp_path, legacy, share, unsafe):
    path = tmp_path / "cut.pt"
    torch.save(trained(width=50).state_dict(), path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    fails(Net(width=50), path, "truncated", unsafe=unsafe)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is empty"),
        (b"hello, this is a text and no checkpoint", "cannot be read as a PyTorch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"PK\x03\x04 not really an archive", "cannot be read as a PyTorch checkpoint"),
        (bytes(range(256)) * 4, "cannot be read as a PyTorch checkpoint"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path, data, part):
    (tmp_path / "x.pt").write_bytes(data)
    fails(Net(), tmp_path / "x.pt", part)


def test_archive_of_another_kind(tmp_path):
    import numpy as np

    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    fails(Net(), tmp_path / "x.npz", "not written by torch.save")


def test_no_such_file(tmp_path):
    fails(Net(), tmp_path / "no.pt", "there is no checkpoint", error=FileNotFoundError)


@pytest.mark.parametrize("content", [{"epoch": 3, "lr": 0.1}, [1, 2], 3.0, {"state": {0: {"m": torch.ones(1)}}}])
def test_no_weights_inside(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    fails(Net(), tmp_path / "x.pt", "holds no weights")


def test_wrong_kinds_of_model(tmp_path):
    torch.save(trained().state_dict(), tmp_path / "x.pt")
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, got type"):
        load_checkpoint(Net, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="no weights"):
        load_checkpoint(nn.ReLU(), tmp_path / "x.pt")
