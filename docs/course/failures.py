"""Ten failures of autoencoders, each beside its cure, on the embedded samples.

    python docs/course/failures.py               all pictures and numbers of docs/course/failures.md, two minutes
    python docs/course/failures.py dead mean     some failures, by the names of the functions

Each function prints a table and draws a picture. An assertion fails if the cure does not help. The tables go to
failures.txt, from which the page takes them.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae import functional as F
from scratchae.autoencoders import ConvAutoencoder, VariationalAutoencoder, VectorQuantisedAutoencoder

HERE = Path(__file__).parent
images, labels = data.mnist_sample("train")
test_images, _ = data.mnist_sample("test")
train_images, validation_images = images[:4500], images[4500:]


def dense(sizes=(784, 256, 32), kind=sa.Autoencoder, **options):
    sa.manual_seed(0)
    return kind.dense(sizes, **{"loss": "mse", **options})


def fit(model, epochs, inputs=train_images, lr=1e-3, batch_size=64, validation=None, callbacks=(), loss=None):
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=lr), callbacks, loss=loss)
    return trainer.fit(inputs, validation=validation, epochs=epochs, batch_size=batch_size, progress=False)


def mse(model, inputs=test_images):
    return float(model.reconstruction_error(inputs).mean())


def picture(name):
    return HERE / f"{name}.png"


def copying():
    """A linear code as large as the image, and a small code."""
    clothes = data.fashion_mnist_sample("test")[0]
    wide, narrow = dense((784, 784), activation=None, output=None), dense((784, 256, 16))
    rows, errors = {"not digits": clothes}, {}
    print("code of   test MSE, digits   MSE, clothes")
    for size, model in ((784, wide), (16, narrow)):
        fit(model, 15)
        errors[size] = mse(model, clothes)
        rows[f"code of {size}"] = model.reconstruct(clothes)
        print(f"{size:7}   {mse(model):16.4f}   {errors[size]:12.4f}")
    plotting.image_rows(rows, picture("copying"))
    assert errors[16] > 5 * errors[784]


def dead():
    """Code units that are 0 for every training image."""
    rows, counts = {"original": test_images}, []
    print("network                 dead code units   test MSE")
    for name, lr, options in (
        ("ReLU, rate 0.02", 2e-2, {"code_activation": "relu"}),
        ("ReLU, rate 0.001", 1e-3, {"code_activation": "relu"}),
        ("linear code, rate 0.001", 1e-3, {"activation": "leaky_relu"}),
    ):
        model = dense((784, 256, 128, 32), **options)
        fit(model, 8, lr=lr)
        counts.append(int((model.transform(train_images) == 0).all(axis=0).sum()))
        rows[name] = model.reconstruct(test_images)
        print(f"{name:23} {counts[-1]:9} of 32   {mse(model):8.4f}")
    plotting.image_rows(rows, picture("dead"))
    assert counts[0] > counts[1] > counts[2] == 0


def rate():
    """Too large, too small, the rate that `find_lr` suggests, and a rate found by trying."""
    model = dense()
    found = sa.find_lr(sa.Trainer(model, optim.Adam(model.parameters())), train_images).suggestion
    level = float(np.mean((validation_images - train_images.mean(axis=0)) ** 2))
    lines, ends = {}, []
    print("learning rate        validation MSE after 8 epochs")
    for name, lr in (("0.1", 0.1), ("0.00001", 1e-5), (f"{found:.5f}, suggested", found), ("0.003", 3e-3)):
        ends_at = fit(dense(), 8, lr=lr, validation=validation_images)["val_loss"]
        lines[f"rate {name}"] = np.arange(1, 9), ends_at
        ends.append(ends_at[-1])
        print(f"{name:18}   {ends[-1]:.4f}")
    print(f"mean image           {level:.4f}")
    references = {"mean image": level}
    plotting.curves(lines, picture("rate"), "epoch", "validation MSE", ylog=True, references=references)
    assert min(ends[:2]) > level > 1.3 * ends[2] and level > 3 * ends[3]


def overfitting():
    """The same network with 200 training images, and with all."""
    sizes, few = (784, 512, 8), train_images[:200]
    history = fit(dense(sizes), 150, few, batch_size=20, validation=validation_images)
    stopped = dense(sizes)
    stop = sa.EarlyStopping(patience=10)
    fit(stopped, 150, few, batch_size=20, validation=validation_images, callbacks=[stop])
    more = dense(sizes)
    fit(more, 22, batch_size=64)
    ends = [history["val_loss"][-1], mse(stopped, validation_images), mse(more, validation_images)]
    print("training                          training MSE   validation MSE")
    print(f"200 images, 150 epochs            {history['loss'][-1]:12.4f}   {ends[0]:14.4f}")
    print(f"200 images, stopped after {stop.best_epoch:3}     {mse(stopped, few):12.4f}   {ends[1]:14.4f}")
    print(f"4,500 images, as many steps       {mse(more, train_images):12.4f}   {ends[2]:14.4f}")
    epochs = np.arange(1, 151)
    lines = {"200 training images": (epochs, history["loss"]), "validation images": (epochs, history["val_loss"])}
    references = {"validation, 4,500 training images": ends[2]}
    plotting.curves(lines, picture("overfitting"), "epoch", "MSE", ylog=True, markers=False, references=references)
    assert ends[0] > ends[1] > ends[2]


def mean():
    """Deep sigmoids return the same image for every input."""
    rows, errors = {"original": test_images}, []
    level = float(np.mean((test_images - train_images.mean(axis=0)) ** 2))
    print("activation   test MSE   standard deviation of a pixel over test images")
    for activation in ("sigmoid", "relu"):
        model = dense((784, 256, 128, 64, 32), activation=activation)
        fit(model, 10)
        rows[activation], moves = (r := model.reconstruct(test_images)), r.std(axis=0).mean()
        errors.append(mse(model))
        print(f"{activation:10}   {errors[-1]:8.4f}   {moves:.6f}")
    print(f"mean image   {level:8.4f}   0")
    print(f"originals                {test_images.std(axis=0).mean():.6f}")
    plotting.image_rows(rows, picture("mean"))
    assert abs(errors[0] / level - 1) < 0.02 and errors[1] < 0.6 * level


def scale():
    """Standardised images under a formula of BCE without a check, and the outputs that suit these images."""
    centre, spread = train_images.mean(), train_images.std()
    scaled = (train_images - centre) / spread

    def unchecked_bce(p, target):
        p = F.clip(p, 1e-6, 1 - 1e-6)
        return -F.mean(target * F.log(p) + (1 - target) * F.log(1 - p))

    try:
        fit(dense(loss="bce"), 1, scaled)
    except ValueError as error:
        print(f"loss='bce' on standardised images:\n    {error}\n")
    rows, errors = {"original": test_images}, []
    print("loss, output              last loss   test MSE of pixels   range of pixels")
    for name, model in (("BCE unchecked, sigmoid", dense(loss=unchecked_bce)), ("MSE, sigmoid", dense()),
                        ("MSE, linear", dense(output=None))):  # fmt: skip
        loss = fit(model, 10, scaled)["loss"][-1]
        pixels = model.reconstruct((test_images - centre) / spread) * spread + centre
        errors.append(float(np.mean((pixels - test_images) ** 2)))
        rows[name] = pixels.clip(0, 1)
        print(f"{name:22}   {loss:12.3f}   {errors[-1]:18.4f}   {pixels.min():5.2f} to {pixels.max():.2f}")
    plotting.image_rows(rows, picture("scale"))
    assert min(errors[:2]) > 2 * errors[2]


def collapse():
    """Pixels averaged and KL summed, which is a beta of 784."""
    rows, used = {"original": test_images[:10]}, []
    print(" beta   code units in use   KL, nats   test MSE")
    for beta in (784, 1):
        model = dense((784, 256, 16), VariationalAutoencoder, loss="bce", beta=beta)
        fit(model, 12)
        with sa.no_grad():
            units = F.gaussian_kl(*model.posterior(test_images), reduction="none").numpy().mean(axis=0)
        used.append(int((units > 0.01).sum()))
        rows[f"beta {beta}, reconstructed"] = model.reconstruct(test_images[:10])
        rows[f"beta {beta}, drawn"] = model.sample(10).reshape(-1, 1, 28, 28)
        print(f"{beta:5}   {used[-1]:11} of 16   {units.sum():8.2f}   {mse(model):8.4f}")
    plotting.image_rows(rows, picture("collapse"))
    assert used == [0, 16]


def checkerboard():
    """Transposed convolutions with kernels of 3 and steps of 2, and upsampling followed by convolutions."""
    clothes, test = (data.fashion_mnist_sample(part)[0] for part in ("train", "test"))

    def alternation(images):
        """The mean size of what changes from pixel to pixel along both axes."""
        twice = images[..., 2:] - 2 * images[..., 1:-1] + images[..., :-2]
        return float(np.abs(twice[..., 2:, :] - 2 * twice[..., 1:-1, :] + twice[..., :-2, :]).mean())

    rows, sizes = {"original": test}, []
    print("decoder                 after 1 epoch: alternation   test MSE")
    for name, down in (("transposed", "stride"), ("upsampled", "pool")):
        sa.manual_seed(0)
        model = ConvAutoencoder((1, 8, 8), down, loss="mse", code_size=32)
        fit(model, 1, clothes, lr=2e-3)
        rows[name] = model.reconstruct(test)
        sizes.append(alternation(rows[name]))
        print(f"{name:22}   {sizes[-1]:26.3f}   {mse(model, test):8.4f}")
    print(f"originals                {alternation(test):26.3f}")
    plotting.image_rows(rows, picture("checkerboard"))
    assert sizes[0] > 2 * sizes[1]


ENTRIES, ENTRY_SIZE, PLACES = 64, 8, 16


class Quantised(sa.Autoencoder):
    """16 entries of a codebook per image. The entries are a Parameter, and start from N(0, 1)."""

    def __init__(self):
        inner = PLACES * ENTRY_SIZE
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, inner))
        super().__init__(encoder, nn.Sequential(nn.Linear(inner, 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid()))
        self.entries = nn.Parameter(sa.generator().standard_normal((ENTRIES, ENTRY_SIZE)).astype(np.float32))

    def vectors(self, x):
        return F.reshape(self.encoder(x), (len(x), PLACES, ENTRY_SIZE))

    def nearest(self, vectors):
        entries = self.entries.detach()
        return ((entries * entries).sum(axis=1) - 2 * vectors.detach() @ entries.T).argmin(axis=-1)

    def encode(self, x):
        return self.nearest(self.vectors(x))

    def decode(self, indices):
        return self.decoder(F.reshape(self.entries[indices], (len(indices), -1)))

    def loss_terms(self, x, target=None):
        vectors = self.vectors(x)
        chosen = self.entries[self.nearest(vectors)]
        straight = vectors + (chosen - vectors).detach()
        output = self.decoder(F.reshape(straight, (len(x), -1)))
        return {
            "reconstruction": self.distance(output, x, target),
            "codebook": F.mse_loss(chosen, vectors.detach()),
            "commitment": 0.25 * F.mse_loss(vectors, chosen.detach()),
        }


def codebook():
    """Entries drawn far from the encoder's vectors are never the nearest."""
    sa.manual_seed(0)
    gradients = Quantised()
    averages = dense((784, 256, PLACES * ENTRY_SIZE), VectorQuantisedAutoencoder,
                     entries=ENTRIES, entry_size=ENTRY_SIZE)  # fmt: skip
    rows, used = {"original": test_images}, []
    print("codebook                  entries in use   test MSE")
    for name, model in (("gradients from N(0, 1)", gradients), ("moving averages", averages)):
        fit(model, 12)
        used.append(len(np.unique(model.transform(test_images))))
        rows[name] = model.reconstruct(test_images)
        print(f"{name:24}   {used[-1]:8} of 64   {mse(model):8.4f}")
    plotting.image_rows(rows, picture("codebook"))
    assert used[0] < 20 and used[1] > 50


def holes():
    """New images from random codes, of a plain autoencoder and of a variational one."""
    size, n = 32, 500
    plain, vae = dense((784, 256, size), loss="bce"), dense((784, 256, size), VariationalAutoencoder, loss="bce")
    fit(plain, 30)
    fit(vae, 30, lr=2e-3)
    rng = np.random.default_rng(0)
    codes = plain.transform(train_images)
    normal, fitted = rng.standard_normal((n, size)), rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), n)
    drawn = {
        "plain, N(0, 1)": plain.inverse_transform(normal.astype(np.float32)),
        "plain, fitted": plain.inverse_transform(fitted.astype(np.float32)),
        "VAE, N(0, 1)": vae.inverse_transform(normal.astype(np.float32)),
        "test images": test_images[:n],
    }
    drawn = {name: images.reshape(-1, 1, 28, 28) for name, images in drawn.items()}
    sa.manual_seed(0)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    fit(classifier, 10, (images, labels), loss=F.cross_entropy)
    flat = train_images.reshape(len(train_images), -1)
    print("images           sure to be a digit   MSE to the nearest training image")
    found = {}
    for name, new in drawn.items():
        with sa.no_grad():
            sure = float((F.softmax(classifier(new), axis=1).numpy().max(axis=1) > 0.9).mean())
        nearest = float(np.mean([((flat - image.ravel()) ** 2).mean(axis=1).min() for image in new[:200]]))
        found[name] = sure, nearest
        print(f"{name:14}   {sure:18.0%}   {nearest:33.4f}")
    plotting.image_rows(drawn, picture("holes"))
    assert found["plain, N(0, 1)"][0] < found["VAE, N(0, 1)"][0] / 2
    assert found["VAE, N(0, 1)"][1] < found["plain, fitted"][1]


def main(*tables, script):
    """Run the tables named on the command line, or all. The script's text file keeps the last output of each table."""
    path = Path(script).with_suffix(".txt")
    kept = dict(re.findall(r"\[(\w+)\]\n(.*?)(?=\n\[|\Z)", path.read_text(), re.DOTALL)) if path.exists() else {}
    for table in tables:
        if not sys.argv[1:] or table.__name__ in sys.argv[1:]:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                table()
            print(f"[{table.__name__}]\n{printed.getvalue()}", flush=True)
            kept[table.__name__] = printed.getvalue()
            names = [table.__name__ for table in tables if table.__name__ in kept]
            path.write_text("".join(f"[{name}]\n{kept[name].rstrip()}\n" for name in names))


if __name__ == "__main__":
    main(copying, dead, rate, overfitting, mean, scale, collapse, checkerboard, codebook, holes, script=__file__)
