"""Use an installed scratchae in a few ways, and exit with an error if one fails: data, training, files, the page."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import scratchae as sa


def main(folder: Path) -> None:
    images, labels = sa.data.mnist_sample("test")
    model = sa.Autoencoder.dense((784, 16))
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters(), lr=1e-2))
    history = trainer.fit(images, epochs=2, checkpoint=folder / "run.safetensors", progress=False)
    assert history["loss"][1] < history["loss"][0], history["loss"]
    model.save_weights(folder / "weights.safetensors")
    other = sa.Autoencoder.dense((784, 16))
    other.load_weights(folder / "weights.safetensors")
    assert np.array_equal(other.transform(images), model.transform(images))
    sa.explore(model, folder / "page.html", images[:50], labels[:50])
    assert "</html>" in (folder / "page.html").read_text("utf-8")
    drawn = sa.measures.features(model.reconstruct(images))
    assert 0 < sa.measures.frechet_distance(sa.measures.features(images), drawn) < np.inf
    assert sorted(path.name for path in Path(sa.__file__).parent.glob("gpu/*.cu")) == ["images.cu", "kernels.cu"]
    command = shutil.which("scratchae", path=Path(sys.executable).parent)
    assert command is not None, f"no command scratchae beside {sys.executable}"
    printed = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == sa.__version__, printed
    print(f"scratchae {sa.__version__} from {Path(sa.__file__).parent}, Python {sys.version.split()[0]}: works")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
