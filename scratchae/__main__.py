"""The command line: train an autoencoder on files, and use it on others.

    scratchae train --data mnist --kind variational --sizes 784,400,20 --epochs 10 --out vae.safetensors
    scratchae sample vae.safetensors 100 samples.png
"""

from __future__ import annotations

import argparse
import inspect
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchae import __version__, autoencoders, data, optim, plotting, random
from scratchae.autoencoders.base import ACTIVATIONS, LOSSES
from scratchae.checkpoint import load_checkpoint, read_state, save_checkpoint
from scratchae.storage import check_place
from scratchae.training import Trainer


def _name(text: str) -> str | None:
    return None if text == "none" else text


SETS: dict[str, Any] = {"sample": data.mnist_sample, "mnist": data.mnist, "fashion": data.fashion_mnist}
KINDS: dict[str, Any] = {**autoencoders.KINDS, "conv": autoencoders.ConvAutoencoder}
OPTIONS: dict[str, tuple[Any, str]] = {  # name -> (type, help)
    "activation": (_name, f"{', '.join(ACTIVATIONS)}, or none for a linear model"),
    "output": (_name, "activation of the last layer, or none"),
    "loss": (str, ", ".join(LOSSES)),
    "corruption": (str, "denoising: gaussian, masking or salt_and_pepper"),
    "amount": (float, "denoising: of the corruption"),
    "penalty": (str, "sparse: kl or l1"),
    "target": (float, "sparse: mean activation"),
    "weight": (float, "sparse, contractive: of the penalty"),
    "beta": (float, "variational: weight of the KL term"),
    "down": (str, "conv: pool or stride"),
    "code_size": (int, "conv: a flat code"),
}
EXAMPLES = """\
examples:
  scratchae train --sizes 784,128,64 --epochs 5 --out model.safetensors
  scratchae train --data photos/ --size 32 --channels 3 --kind denoising --sizes 3072,256,64 --amount 0.2
  scratchae train --data mnist --kind conv --sizes 1,16,32 --epochs 10 --checkpoint run.safetensors --resume
  scratchae reconstruct model.safetensors photos/ reconstructions.png
  scratchae encode model.safetensors images.npy codes.npy
  scratchae decode model.safetensors codes.npy images.npy
  scratchae anomaly model.safetensors normal.npy suspects.npy --quantile 0.99

DATA is sample (embedded digits), mnist, fashion, a folder of images, or a .npy or .npz file of images (n, ...) whose
values are in [0, 1], or bytes. Where a verb writes images, the name's ending decides: .png for a picture, .npy for
the numbers. The exit status is 0, 1 for an error in files or numbers, 2 for a wrong command line.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = _parser().parse_args(arguments)
    try:
        args.verb(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads our output has seen enough
        sys.stderr.close()
    except (OSError, ValueError, TypeError, ModuleNotFoundError, RuntimeError, FloatingPointError) as error:
        print(f"scratchae: {error}", file=sys.stderr)
        return 1
    return 0


# --- the verbs ------------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> None:
    check_place(args.out)  # an hour of training later would be too late
    images = _load(args.data, args)
    held_out = _load(args.data, args, "test") if args.data in SETS else None
    random.manual_seed(args.seed)
    build = {"kind": args.kind, "sizes": _numbers(args.sizes), "shape": list(images.shape[1:]), **_options(args)}
    model = _build(build).to(args.device)
    print(model)
    trainer = Trainer(model, optim.Adam(model.parameters(), lr=args.lr))
    history = trainer.fit(images, held_out, args.epochs, args.batch_size, seed=args.seed, checkpoint=args.checkpoint,
                          resume=args.resume)  # fmt: skip
    save_checkpoint(args.out, model, build=build)
    picture = Path(args.out).with_suffix(".png")
    history.plot(picture)
    print(f"model: {args.out}\nloss curve: {picture}")


def reconstruct(args: argparse.Namespace) -> None:
    model, build = _model(args)
    images = _load(args.data, args, shape=build["shape"])
    _write(args.out, model.reconstruct(images), originals=images)


def encode(args: argparse.Namespace) -> None:
    model, build = _model(args)
    _write(args.out, model.transform(_load(args.data, args, shape=build["shape"])))


def decode(args: argparse.Namespace) -> None:
    model, build = _model(args)
    images = model.inverse_transform(np.asarray(data.load_array(args.codes), np.float32))
    _write(args.out, images.reshape(-1, *build["shape"]))


def sample(args: argparse.Namespace) -> None:
    model, build = _model(args)
    if not isinstance(model, autoencoders.VariationalAutoencoder):
        raise ValueError(f"{args.model} is of kind {build['kind']!r}; only a variational autoencoder can be sampled")
    random.manual_seed(args.seed)
    _write(args.out, model.sample(args.n).reshape(-1, *build["shape"]))


def anomaly(args: argparse.Namespace) -> None:
    if not 0 < args.quantile < 1:
        raise ValueError(f"--quantile {args.quantile}: expected a number between 0 and 1")
    model, build = _model(args)
    normal, suspects = (_load(d, args, shape=build["shape"]) for d in (args.normal, args.data))
    threshold = float(np.quantile(model.reconstruction_error(normal), args.quantile))
    print(f"# threshold {threshold:.6g}, the {args.quantile:g} quantile of {len(normal)} normal images")
    print("number,error,anomalous")
    for i, error in enumerate(model.reconstruction_error(suspects)):
        print(f"{i},{error:.6g},{int(error > threshold)}")


def info(args: argparse.Namespace) -> None:
    model, build = _model(args)
    print(f"{args.model}: {build['kind']}, for inputs of shape {tuple(build['shape'])}\n{model}")


# --- what they share ------------------------------------------------------------------------------


def _build(build: dict[str, Any]) -> Any:
    """The untrained model that a description of it asks for."""
    shape, sizes = tuple(build["shape"]), build["sizes"]
    options = {k: v for k, v in build.items() if k not in ("kind", "sizes", "shape", "size")}
    if build["kind"] == "conv":
        if len(shape) != 3 or shape[0] != sizes[0]:
            raise ValueError(f"--sizes {sizes}: the first is the images' channels; these have shape {shape}")
        if "code_size" in options and shape[1] != shape[2]:
            raise ValueError(f"--code-size: expected square images; these have shape {shape}")
        return KINDS["conv"](sizes, size=shape[2], **options)
    if math.prod(shape) != sizes[0]:
        found = f"inputs of shape {shape} have {math.prod(shape)} numbers"
        raise ValueError(f"--sizes {sizes}: {found}; the first size must be that")
    return KINDS[build["kind"]].dense(sizes, **options)


def _model(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """A model and its description, from a file that `train` wrote."""
    build = read_state(args.model)[1].get("build")
    if build is None:
        raise ValueError(f"{args.model} does not say how its model was built; expected a file of 'scratchae train'")
    model = _build(build)
    load_checkpoint(args.model, model)
    return model.to(args.device), build


def _load(source: str, args: argparse.Namespace, split: str = "train", shape: Sequence[int] | None = None) -> Any:
    """Images as float32 in [0, 1]."""
    if source in SETS:
        images = SETS[source](split)[0]
    elif os.path.isdir(source):
        channels, height, width = shape if shape is not None else (args.channels, args.size, args.size)
        images = data.image_folder(source, (height, width), channels)
    else:
        images = data.load_array(source)
    is_bytes = images.dtype == np.uint8
    images = images.astype(np.float32) / 255 if is_bytes else images.astype(np.float32, copy=False)
    if shape is not None and list(images.shape[1:]) != list(shape):
        raise ValueError(f"{source} holds items of shape {images.shape[1:]}; the model takes {tuple(shape)}")
    return images


def _write(path: str, array: np.ndarray, originals: np.ndarray | None = None) -> None:
    if path.endswith(".npy"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    elif path.endswith(".png") and originals is not None:
        plotting.reconstructions(originals[:10], array[:10], path)
    elif path.endswith(".png") and array.ndim > 2:
        plotting.image_grid(array, path)
    else:
        raise ValueError(f"{path}: expected a name that ends in .npy" + (", or .png" if array.ndim > 2 else ""))
    print(f"{path}: {array.shape}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--sizes {text!r}: expected whole numbers with commas between, such as 784,128,64") from None


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of the kind that were given; ValueError for one that it does not have."""
    given = {name: value for name, value in vars(args).items() if name in OPTIONS}
    cls = KINDS[args.kind]
    known = {*inspect.signature(cls.__init__).parameters, *inspect.signature(cls.dense).parameters}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"--{unknown[0].replace('_', '-')} is no option of --kind {args.kind}")
    return given


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

    sub = verb(train, "train a model and save it")
    sub.add_argument("--data", default="sample", help="see below (default: sample)")
    sub.add_argument("--kind", choices=KINDS, default="plain")
    sub.add_argument("--sizes", default="784,128,64", help="layer sizes; for conv, channels (default: 784,128,64)")
    sub.add_argument("--size", type=int, default=28, help="side that images of a folder are scaled to (default: 28)")
    sub.add_argument("--channels", type=int, default=1, help="of the images of a folder: 1 or 3")
    for name, (kind, text) in OPTIONS.items():
        sub.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text, default=argparse.SUPPRESS)
    sub.add_argument("--epochs", type=int, default=10)
    sub.add_argument("--batch-size", type=int, default=64)
    sub.add_argument("--lr", type=float, default=1e-3, help="Adam's learning rate (default: 0.001)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--checkpoint", help="file for the state of the run, after every epoch")
    sub.add_argument("--resume", action="store_true", help="go on from --checkpoint")
    sub.add_argument("--out", default="model.safetensors", help="the model (default: model.safetensors)")
    verb(reconstruct, "what the model makes of images", "model", "data", "out")
    verb(encode, "the codes of images", "model", "data", "out")
    verb(decode, "images from codes", "model", "codes", "out")
    sub = verb(sample, "new images from a variational autoencoder", "model")
    sub.add_argument("n", metavar="N", type=int)
    sub.add_argument("out", metavar="OUT")
    sub.add_argument("--seed", type=int, default=0)
    sub = verb(anomaly, "which images are unlike the normal ones", "model", "normal", "data")
    sub.add_argument("--quantile", type=float, default=0.95, help="of the normal errors: the threshold (default: 0.95)")
    verb(info, "what a model file holds", "model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
