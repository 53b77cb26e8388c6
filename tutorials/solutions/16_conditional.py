"""Solutions of tutorial 16, on the embedded sample.

python tutorials/solutions/16_conditional.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, measures, optim
from scratchae.autoencoders import ConditionalVariationalAutoencoder, LabelBias, VariationalAutoencoder

sys.path.append(str(Path(__file__).parents[1]))
from common import load

digits = load("sample", data.mnist, data.mnist_sample)


def trained(model, *given, faster=10):
    """Trained for 5 epochs: enough for these answers."""
    biases = [layer.weight for layer in model.modules() if isinstance(layer, LabelBias)]
    known = {id(bias) for bias in biases}
    groups = [{"params": [p for p in model.parameters() if id(p) not in known]}]
    groups += [{"params": biases, "lr": faster * 3e-3}] if biases else []
    trainer = sa.Trainer(model, optim.Adam(groups, lr=3e-3))
    trainer.fit(given if len(given) > 1 else given[0], epochs=5, batch_size=32, progress=False)
    return trainer


def with_labels(faster=10):
    sa.manual_seed(0)
    model = ConditionalVariationalAutoencoder.dense((784, 128, 12), classes=10)
    return model, trained(model, digits.train, digits.train_labels, faster=faster)


def share_as_asked(model):
    sa.manual_seed(1)
    drawn = model.sample(len(digits.test), digits.test_labels)
    logits = measures.classifier()(sa.Tensor(drawn.reshape(-1, 1, 28, 28))).numpy()
    return np.mean(logits.argmax(axis=1) == digits.test_labels)


print("Change a constant")
# The code learns the class before B does. B starts at 0, and B[y] only moves when y comes up. The decoder then reads
# the class from the code, and the label changes little. A draw from N(0, I) then chooses the class too.
model, trainer = with_labels()
fast, slow = share_as_asked(model), share_as_asked(with_labels(faster=1)[0])
print(f"as asked: {fast:.1%} with FASTER = 10, {slow:.1%} with FASTER = 1")
assert slow < fast - 0.2

print("\nExplain a number")
# This is no error. The ten conditional models together are a mixture, p(x) = sum of p(x | y) / 10. Each term of the sum
# is at most the sum:
#
#     -log p(x) <= -log p(x | y) + log 10
#
# The bound with labels plus log 10 therefore bounds the cost of an image without a label. The mixture has a lower bound
# than the model without labels. The fall has two parts: log 10 nats for the label, and the rest for a better model.
sa.manual_seed(0)
plain = VariationalAutoencoder.dense((784, 130, 12))
without = trained(plain, digits.train).evaluate(digits.test)["loss"]
mixture = trainer.evaluate((digits.test, digits.test_labels))["loss"] + np.log(10)
print(f"bound of -log p(x): {without:.2f} of the model without labels, {mixture:.2f} of the mixture")
assert mixture < without

print("\nWrite code")
# By Bayes' rule, p(y | x) is proportional to p(x | y) if all labels are equally frequent. The bound replaces
# -log p(x | y), so we choose the label with the lowest bound. An average over more codes makes the bound tighter.
sa.manual_seed(2)
scores = []
for digit in range(10):
    with model.given(digit):
        scores.append(model.log_likelihood(digits.test, 10))
accuracy = np.mean(np.argmax(scores, axis=0) == digits.test_labels)
print(f"test accuracy by the bound: {accuracy:.1%}")
assert accuracy > 0.9
