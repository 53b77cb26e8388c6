"""The command line: train an autoencoder on files, and use the model on other files.

    scratchae train --data mnist --kind variational --sizes 784,400,20 --epochs 10 --out vae.safetensors
    scratchae sample vae.safetensors 100 samples.png
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchae import __version__, autoencoders, data, optim, plotting, progress, random
from scratchae.autoencoders.base import ACTIVATIONS, LOSSES
from scratchae.builds import KINDS, build, load_built
from scratchae.data.files import SUFFIXES
from scratchae.explorer import explore as write_explorer
from scratchae.files.checkpoint import read_state, save_checkpoint
from scratchae.files.storage import FilePath, check_apart, check_place, write_whole
from scratchae.training import Trainer


def _name(text: str) -> str | None:
    return None if text == "none" else text


SETS: dict[str, Any] = {"sample": data.mnist_sample, "mnist": data.mnist, "fashion": data.fashion_mnist}
CURVE = "scratchae: loss curve of a model"  # the title in the picture, by which a later run recognises a loss curve
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
  scratchae explore model.safetensors page.html --data mnist --title Digits

DATA is sample (embedded digits), mnist, fashion, a folder of images, or a .npy or .npz file of images (n, ...) whose
values are in [0, 1], or bytes. Where a verb writes images, the name's ending decides: .png for a picture, .npy for
the numbers. No output may be an input, nor a picture in a folder of input images.

train draws the loss curve beside the model: model.png for model.safetensors. It replaces an older loss curve, but no
other picture: where there is one, the curve is called model-loss.png.

anomaly calls what is not finite anomalous; normal images must be finite.

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
        # Names in files may come from other people. No control character may reach the terminal.
        print("scratchae:", "".join(c if c.isprintable() or c == "\n" else "?" for c in text), file=sys.stderr)
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


# --- the verbs ------------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> None:
    for name in filter(None, (args.out, args.checkpoint)):
        if Path(name).suffix.lower() in SUFFIXES:
            raise ValueError(f"{name} is the name of a picture; expected one for a model, such as model.safetensors")
    check_place(args.out)
    curve = _curve_beside(args.out)
    outputs = {"--out": args.out, "--checkpoint": args.checkpoint, "the loss curve": curve}
    _check_places({what: path for what, path in outputs.items() if path}, args.data)  # before the training, not after
    _check_replaceable(args.out, "a model", lambda state, metadata: "build" in metadata)
    if args.checkpoint is not None and not args.resume:
        _check_replaceable(args.checkpoint, "a run's checkpoint", lambda state, metadata: "run" in state)
    images = _load(args.data, args)
    _check_finite(args.data, images)
    held_out = _load(args.data, args, "test") if args.data in SETS else None
    random.manual_seed(args.seed)
    described = {"kind": args.kind, "sizes": _numbers(args.sizes), "shape": list(images.shape[1:]), **_options(args)}
    model = build(described).to(args.device)
    progress.line(str(model))  # a reader that closes the pipe does not end the training
    trainer = Trainer(model, optim.Adam(model.parameters(), lr=args.lr))
    history = trainer.fit(images, held_out, args.epochs, args.batch_size, seed=args.seed, checkpoint=args.checkpoint,
                          resume=args.resume)  # fmt: skip
    save_checkpoint(args.out, model, build=described)
    write_whole(curve, plotting.png(history.plot(), metadata={"Title": CURVE}))
    print(f"model: {args.out}\nloss curve: {curve}")


def reconstruct(args: argparse.Namespace) -> None:
    model, described = _model(args, args.data)
    images = _load(args.data, args, shape=described["shape"])
    _check_finite(args.data, images)
    _write(args.out, model.reconstruct(images), originals=images)


def encode(args: argparse.Namespace) -> None:
    model, described = _model(args, args.data)
    images = _load(args.data, args, shape=described["shape"])
    _check_finite(args.data, images)
    _write(args.out, model.transform(images))


def decode(args: argparse.Namespace) -> None:
    model, described = _model(args, args.codes)
    codes = np.asarray(data.load_array(args.codes), np.float32)
    _check_finite(args.codes, codes, "code")
    images = model.inverse_transform(codes)
    _write(args.out, images.reshape(-1, *described["shape"]))


def sample(args: argparse.Namespace) -> None:
    model, described = _model(args)
    if not isinstance(model, autoencoders.VariationalAutoencoder):
        raise ValueError(f"{args.model} is of kind {described['kind']!r}; only a variational one can be sampled")
    random.manual_seed(args.seed)
    _write(args.out, model.sample(args.n).reshape(-1, *described["shape"]))


def anomaly(args: argparse.Namespace) -> None:
    if not 0 < args.quantile < 1:
        raise ValueError(f"--quantile {args.quantile}: expected a number between 0 and 1")
    model, described = _model(args)
    normal, suspects = (_load(d, args, shape=described["shape"]) for d in (args.normal, args.data))
    with np.errstate(all="ignore"):  # an overflow is an anomaly, and needs no warning
        errors, found = model.reconstruction_error(normal), model.reconstruction_error(suspects)
    if (odd := np.flatnonzero(~np.isfinite(errors))).size:
        listed = f"image number {odd[0]} has the error {errors[odd[0]]}, one of {odd.size} that are not finite"
        raise ValueError(f"{args.normal}: {listed}; remove these, since no threshold can be taken from them")
    threshold = float(np.quantile(errors, args.quantile))
    print(f"# threshold {threshold:.6g}, the {args.quantile:g} quantile of {len(normal)} normal images")
    print("number,error,anomalous")
    for i, error in enumerate(found):
        print(f"{i},{error:.6g},{int(not error <= threshold)}")  # NaN is anomalous


def explore(args: argparse.Namespace) -> None:
    _check_places({"PAGE": args.page}, args.model, *filter(None, (args.data, args.labels)))
    model, described = load_built(args.model)
    images = labels = None
    if args.data is not None:
        images = _load(args.data, args, shape=described["shape"])
        labels = SETS[args.data]("train")[1] if args.data in SETS else None
    if args.labels is not None:
        labels = data.load_array(args.labels)
    features = None if args.features is None else args.features.split(",")
    shape = described["shape"] if images is None else None
    write_explorer(model.to(args.device), args.page, images, labels, args.title, features=features, shape=shape)
    print(f"page: {args.page}")


def info(args: argparse.Namespace) -> None:
    model, described = _model(args)
    print(f"{args.model}: {described['kind']}, for inputs of shape {tuple(described['shape'])}\n{model}")


# --- helpers of the commands ----------------------------------------------------------------------


def _model(args: argparse.Namespace, *inputs: str) -> tuple[Any, dict[str, Any]]:
    """The model of a command, and the model's description. The place of the output is checked first."""
    if hasattr(args, "out"):
        if Path(args.out).suffix not in (".npy", ".png"):
            raise ValueError(f"{args.out}: expected a name that ends in .npy, or .png for images")
        _check_places({"OUT": args.out}, args.model, *inputs)
    model, described = load_built(args.model)
    return model.to(args.device), described


def _check_places(outputs: Mapping[str, FilePath], *inputs: str) -> None:
    """Refuse, before the work, outputs that cannot be written, and outputs that would spoil an input."""
    check_apart(outputs, [source for source in inputs if source not in SETS])
    for folder in filter(os.path.isdir, inputs):
        for what, path in outputs.items():
            inside = Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
            if inside and Path(path).suffix.lower() in SUFFIXES:
                found = f"{what} {os.fspath(path)} would be one of the images of {folder} the next time"
                raise ValueError(f"{found}; choose a place outside that folder")


def _curve_beside(out: str) -> Path:
    """The path for a model's loss curve: a free name, or the name of an older loss curve."""
    for ending in (".png", "-loss.png"):
        curve = Path(out).with_name(Path(out).name.removesuffix(".safetensors") + ending)
        if not os.path.isfile(curve) or CURVE.encode() in curve.read_bytes():
            return curve
    raise ValueError(f"{curve} is there and no loss curve; rename it, or choose another --out")


def _check_replaceable(path: str, what: str, is_ours: Callable[[Any, Any], bool]) -> None:
    """Refuse to replace a file of another kind."""
    if os.path.exists(path):
        try:
            ours = is_ours(*read_state(path))
        except ValueError:
            ours = False
        if not ours:
            raise ValueError(f"{path} is there and is not {what}; rename it, or choose another name")


def _check_finite(source: str, images: np.ndarray, what: str = "image") -> None:
    flat = images.reshape(len(images), -1)
    finite = np.isfinite(flat.min(axis=1)) & np.isfinite(flat.max(axis=1))
    if (odd := np.flatnonzero(~finite)).size:
        raise ValueError(f"{source}: {what} number {odd[0]} is not finite, one of {odd.size}; remove these")


def _load(source: str, args: argparse.Namespace, split: str = "train", shape: Sequence[int] | None = None) -> Any:
    """Images as float32 in [0, 1]."""
    if source in SETS:
        images = SETS[source](split)[0]
    elif os.path.isdir(source):
        if shape is not None and len(shape) != 3:
            raise ValueError(f"{source} is a folder of images; the model takes items of shape {tuple(shape)}")
        channels, height, width = shape if shape is not None else (args.channels, args.size, args.size)
        images = data.image_folder(source, (height, width), channels)
    else:
        images = data.load_array(source)
    if images.ndim < 2 or not images.size:
        raise ValueError(f"{source} holds an array of shape {images.shape}; expected images (n, ...), one or more")
    is_bytes = images.dtype == np.uint8
    with np.errstate(over="ignore"):  # of float64; infinities raise an error later, or are anomalies
        images = images.astype(np.float32) / 255 if is_bytes else images.astype(np.float32, copy=False)
    if shape is not None and list(images.shape[1:]) != list(shape):
        raise ValueError(f"{source} holds items of shape {images.shape[1:]}; the model takes {tuple(shape)}")
    return images


def _write(path: str, array: np.ndarray, originals: np.ndarray | None = None) -> None:
    if path.endswith(".npy"):
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_whole(path, buffer.getvalue())
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
    """The options given for the kind. Raises ValueError for an option that the kind does not have."""
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
    sub = verb(explore, "a page to walk through the code space in a browser", "model", "page")
    sub.add_argument("--data", help="see below; the items on the map (default: none)")
    sub.add_argument("--labels", help=".npy file of one number for each item; sample, mnist and fashion have labels")
    sub.add_argument("--title", help="of the page (default: the kind of model)")
    sub.add_argument("--features", help="names of an item's numbers, with commas between")
    verb(info, "what a model file holds", "model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
