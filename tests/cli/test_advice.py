"""Advice on Python's arguments becomes advice on options, and nothing else changes."""

import pytest

from lrscape import tda
from lrscape.cli.advice import for_shell
from lrscape.cli.failures import about, explain

OPTIONS = {"bias", "norm", "key", "parameters", "batch_norm", "seed", "loss", "unsafe_load"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Pass bias='match' or norm='unit'.", "Pass --bias match or --norm unit."),
        ("use memory='normal' or fewer parameters=", "use memory='normal' or fewer --parameters"),
        ("name them in parameters= to move them", "name them in --parameters to move them"),
        ("evaluate with batch_norm='recalibrate'", "evaluate with --batch-norm recalibrate"),
        ("choose with key= (--key on the command line)", "choose with --key"),
        ("pass unsafe=True (--unsafe-load on the command line)", "pass --unsafe-load"),
        ("parameters names 'head', which it lacks", "--parameters names 'head', which it lacks"),
        ("batch_norm must be 'eval'", "--batch-norm must be 'eval'"),
        ("loss_fn must return a tensor", "--loss must return a tensor"),
        ("run/seed=3/norm='a'.pt does not fit", "run/seed=3/norm='a'.pt does not fit"),
        ("seed=3 is a folder; seed=3.npz is none", "seed=3 is a folder; seed=3.npz is none"),
        ("hessian(x,norm='filter')", "hessian(x,norm='filter')"),
    ],
)
def test_arguments_become_options(text, said):
    assert for_shell(text, OPTIONS) == said
    assert for_shell(text, ()) == text.replace("key= (--key on the command line)", "--key").replace(
        "unsafe=True (--unsafe-load on the command line)", "--unsafe-load"
    )


def test_a_file_is_named_once_and_only_in_our_own_messages():
    with pytest.raises(ValueError, match=r"^a.npz: cells must be") as caught, about("a.npz"):
        tda.persistence([1.0], cells="pixels")
    assert explain(caught.value).startswith("a.npz: cells must be")
    with pytest.raises(ValueError, match=r"^cells must be .*pixels"), about("pixels"):
        tda.persistence([1.0], cells="pixels")
    with pytest.raises(ValueError, match=r"^invalid literal"), about("a.npz"):
        int("x" + str(len(OPTIONS)))
