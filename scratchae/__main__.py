"""The command line: train an autoencoder on files, and use the model on other files.

    scratchae train --data mnist --kind variational --sizes 784,400,20 --epochs 10 --out vae.safetensors
    scratchae sample vae.safetensors 100 samples.png
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from scratchae import __version__
from scratchae.builds import KINDS
from scratchae.commands.inputs import printable
from scratchae.commands.training import OPTIONS, train
from scratchae.commands.verbs import anomaly, decode, encode, explore, info, reconstruct, sample

EXAMPLES = """\
examples:
  scratchae train --sizes 784,128,64 --epochs 5 --out model.safetensors
  scratchae train --data photos/ --size 32 --channels 3 --kind denoising --sizes 3072,256,64 --amount 0.2
  scratchae train --data mnist --kind conv --sizes 1,16,32 --epochs 10 --checkpoint run.safetensors --resume
  scratchae reconstruct model.safetensors photos/ reconstructions.png
  scratchae encode model.safetensors images.npy codes.npy
  scratchae decode model.safetensors codes.npy images.npy
  scratchae anomaly model.safetensors normal.npy suspects.npy --quantile 0.99
  scratchae train --data table.csv --without id,label --out table.safetensors
  scratchae anomaly table.safetensors table.csv new.csv
  scratchae explore model.safetensors page.html --data mnist --title Digits
  scratchae train --data mnist --kind conditional-variational --sizes 784,256,20 --out digits.safetensors
  scratchae sample digits.safetensors 10 sevens.png --label 7

DATA is sample (embedded digits), mnist, fashion, a folder of images, one image, a .npy or .npz file of items (n, ...),
or a table (.csv, .tsv). Bytes become numbers in [0, 1], and images lie in [0, 1]. The default loss bce takes no other
values. Train on an array of other values, such as a standardised table, with --loss mse --output none.

The first line of a table holds the names of its columns. train scales columns of numbers to mean 0 and standard
deviation 1. A column of categories becomes a feature of 0 or 1 per category. A gap gets the column's median, or its
most frequent category. Gaps add nothing to the errors of anomaly. The scaling travels in the file of the model.

Where a verb writes items, the name's ending decides: .png for a picture, .csv for a table, .npy for the numbers that
the model sees. No output may be an input, nor a picture in a folder of input images.

train draws the loss curve beside the model: model.png for model.safetensors. It replaces an older loss curve, but no
other picture: where there is one, the curve is called model-loss.png.

anomaly prints a line for each item of DATA. For a folder the line ends in the file's name. For a table the line ends
in the columns that add most to the error, and their shares. What is not finite is anomalous; NORMAL must be finite.

A conditional kind learns with labels: whole numbers from 0, one for each item. sample, mnist and fashion have labels,
and other data need --labels FILE.npy. The verbs that use a conditional model take --label K, one label for all items,
or --labels FILE.npy.

In Python, sa.load_model("model.safetensors") gives the model.

The exit status is 0, 1 for an error in files or numbers, 2 for a wrong command line.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = _parser().parse_args(arguments)
    try:
        args.verb(args)
        _flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has closed the pipe
        with contextlib.suppress(OSError):
            _flush()
    except (OSError, ValueError, TypeError, ImportError, RuntimeError, ArithmeticError, MemoryError, Warning) as error:
        text = str(error) or type(error).__name__
        print("scratchae:", printable(text), file=sys.stderr)
        with contextlib.suppress(OSError):
            _flush()
        return 1
    return 0


def _flush() -> None:
    """Write the printed text. On an error the text is dropped, so that Python does not try again at exit."""
    try:
        if sys.stdout is not None:  # None under pythonw
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "scratchae", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(function: Any, text: str, *positional: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(function.__name__, help=text, description=text, epilog=EXAMPLES,
                               formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
        sub.set_defaults(verb=function)
        for name in positional:
            sub.add_argument(name, metavar=name.upper())
        sub.add_argument("--device", default="cpu", help="cpu, gpu or gpu:<number> (default: cpu)")
        return sub

    def labelled(sub: argparse.ArgumentParser) -> None:
        """Options for a conditional model."""
        either = sub.add_mutually_exclusive_group()
        either.add_argument("--label", type=int, help="conditional: one label for all items")
        either.add_argument("--labels", help="conditional: .npy file of one label for each item")

    sub = verb(train, "train a model and save it")
    sub.add_argument("--data", default="sample", help="see below (default: sample)")
    sub.add_argument("--kind", choices=KINDS, default="plain")
    sub.add_argument("--sizes", help="layer sizes, from the input's to the code's (default for 784 pixels: 784,128,64);"
                     " for conv, channels (default for grey images: 1,16,32); for a table, the input's size may be left"
                     " out (default: 32,4)")  # fmt: skip
    sub.add_argument("--size", type=int, help="side that images of a folder are scaled to (default: 28)")
    sub.add_argument("--channels", type=int, help="of the images of a folder: 1 or 3 (default: 1)")
    sub.add_argument("--categories", metavar="NAMES", help="columns of numbers that are categories, such as codes")
    sub.add_argument("--without", metavar="NAMES", help="columns of a table to leave out, such as labels")
    sub.add_argument("--labels", help="conditional: .npy file of one whole number for each item; sample, mnist and"
                     " fashion have labels")  # fmt: skip
    for name, (kind, text) in OPTIONS.items():
        sub.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text, default=argparse.SUPPRESS)
    sub.add_argument("--epochs", type=int, help="passes over the data (default: 10; for a table 20)")
    sub.add_argument("--batch-size", type=int, default=64)
    sub.add_argument("--lr", type=float, default=1e-3, help="Adam's learning rate (default: 0.001)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--checkpoint", help="file for the state of the run, after every epoch")
    sub.add_argument("--resume", action="store_true", help="go on from --checkpoint")
    sub.add_argument("--out", default="model.safetensors", help="the model (default: model.safetensors)")
    labelled(verb(reconstruct, "what the model makes of images or rows", "model", "data", "out"))
    labelled(verb(encode, "the codes of images or rows", "model", "data", "out"))
    labelled(verb(decode, "images or rows from codes", "model", "codes", "out"))
    sub = verb(sample, "new images or rows from a model", "model")
    sub.add_argument("n", metavar="N", type=int)
    sub.add_argument("out", metavar="OUT")
    sub.add_argument("--data", help="see below; fit a sampler to the codes of these items (needed for kinds whose codes"
                     " have no known distribution)")  # fmt: skip
    sub.add_argument("--sampler", choices=("normal", "mixture"), default="mixture", help="(default: mixture)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--label", type=int, help="conditional: the label of the new items")
    sub.add_argument("--labels", help="conditional: .npy file of the labels of --data")
    sub = verb(anomaly, "which images or rows are unlike the normal ones", "model", "normal", "data")
    sub.add_argument("--quantile", type=float, default=0.95, help="of the normal errors: the threshold (default: 0.95)")
    sub.add_argument("--label", type=int, help="conditional: one label for all items; sample, mnist and fashion have"
                     " labels")  # fmt: skip
    sub = verb(explore, "a page to walk through the code space in a browser", "model", "page")
    sub.add_argument("--data", help="see below; the items on the map (default: none)")
    sub.add_argument("--labels", help=".npy file of one number for each item; sample, mnist and fashion have labels")
    sub.add_argument("--title", help="of the page (default: the kind of model)")
    sub.add_argument("--features", help="names of an item's numbers, with commas between")
    verb(info, "what a model file holds", "model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
