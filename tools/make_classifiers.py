"""Train the classifiers whose features `scratchae.measures` uses, and save their weights in half precision.

    python tools/make_classifiers.py           needs MNIST and Fashion-MNIST, see the README

Prints the accuracy on the test images. The first 55,000 training images train the weights.
"""

from __future__ import annotations

import numpy as np
from safetensors.numpy import save_file

import scratchae as sa
from scratchae import data, measures, nn, optim

EPOCHS, BATCH_SIZE, LR = 8, 128, 2e-3


def main() -> None:
    measures.FOLDER.mkdir(exist_ok=True)
    for which, read in (("mnist", data.mnist), ("fashion-mnist", data.fashion_mnist)):
        sa.manual_seed(0)
        (images, labels), (test_images, test_labels) = read("train"), read("test")
        model = measures.new_classifier()
        optimizer = optim.Adam(model.parameters(), lr=LR, weight_decay=1e-5)
        schedule = sa.Schedule(optim.CosineLR(optimizer, EPOCHS))
        training = nn.Sequential(*model[:-1], nn.Dropout(0.3), model[-1])
        trainer = sa.Trainer(training, optimizer, [schedule], loss=nn.CrossEntropyLoss())
        trainer.fit((images[:55_000], labels[:55_000]), epochs=EPOCHS, batch_size=BATCH_SIZE)
        weights = {name: array.astype(np.float16) for name, array in model.state_dict().items()}
        save_file(weights, measures.FOLDER / f"{which}.safetensors")
        measures.classifier.cache_clear()
        logits = np.concatenate(
            [measures.classifier(which)(sa.Tensor(part)).numpy() for part in np.array_split(test_images, 10)]
        )
        print(f"{which}: test accuracy {np.mean(logits.argmax(axis=1) == test_labels):.2%}")


if __name__ == "__main__":
    main()
