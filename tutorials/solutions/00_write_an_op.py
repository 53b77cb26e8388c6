"""Solutions of tutorial 00.

python tutorials/solutions/00_write_an_op.py
"""

import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

STEPS = 1000
points = np.linspace(-4, 4, 9)
x_train = np.random.default_rng(0).uniform(-5, 5, (512, 1)).astype(np.float32)


def both_sides(low, high):
    x = np.linspace(low, high, 300, dtype=np.float32)[:, None]
    return np.concatenate([-x, x])


x_validation, x_test = both_sides(5, 7.5), both_sides(7.5, 10)


def best_error(activation, frequency, decays):
    """The test MSE of the weight decay with the smallest validation MSE."""

    def wave(x):
        return np.sin(frequency * x) + 0.3 * x

    errors = []
    for decay in decays:
        sa.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 64), activation(), nn.Linear(64, 1))
        optimizer = optim.AdamW(model.parameters(), lr=1e-2, weight_decay=decay)
        schedule = optim.CosineLR(optimizer, STEPS)
        for _ in range(STEPS):
            loss = F.mse_loss(model(x_train), wave(x_train))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with sa.no_grad():
            errors.append([float(np.mean((model(x).numpy() - wave(x)) ** 2)) for x in (x_validation, x_test)])
    return min(errors)[1]


def line_error(frequency):
    slope, height = np.polyfit(x_train[:, 0], np.sin(frequency * x_train[:, 0]) + 0.3 * x_train[:, 0], 1)
    return float(np.mean((np.sin(frequency * x_test) + 0.3 * x_test - slope * x_test - height) ** 2))


@sa.primitive(
    x=lambda g, x, a: g * (1 + F.sin(2 * a * x)),
    a=lambda g, x, a: g * (x * F.sin(2 * a * x) / a - (F.sin(a * x) / a) ** 2),
)
def snake(x, a):
    return x + np.sin(a * x) ** 2 / a


class Snake(nn.Module):
    def forward(self, x):
        return snake(x, np.float32(1))


class LearnedSnake(nn.Module):
    def __init__(self):
        self.a = nn.Parameter(np.full(64, 2, np.float32))

    def forward(self, x):
        return snake(x, self.a)


print("Change a constant")
# The snake network still continues the wave of frequency 2, but not the wave of frequency 3. sin(z)^2 has the frequency
# 2 in z, and the weights of the first layer start between -1 and 1. So no neuron starts with a frequency above 2.
# Training would have to increase a weight by half, through many wrong frequencies.
for frequency in (2, 3):
    found, line = best_error(Snake, frequency, (0, 0.1, 1)), line_error(frequency)
    print(f"frequency {frequency}, test MSE: snake network {found:.4f}, straight line {line:.4f}")
    assert found < line if frequency == 2 else found > line

print("\nExplain a number")
# The ReLU has the slope 0 left of 0, and the slope 1 right of 0. The finite difference gives the mean, 1/2. At 0, no
# derivative exists, and scratchae's choice is 0. Away from 0, the check passes.
try:
    sa.gradcheck(F.relu, [np.zeros(1)])
    raise SystemExit("the check at 0 found no difference")
except AssertionError as error:
    print(error)
assert sa.gradcheck(F.relu, [np.array([-1.0, 1.0])])

print("\nWrite code")
# The quotient rule gives the derivative by a: 2 x sin(a x) cos(a x) / a - sin(a x)^2 / a^2. scratchae sums over the
# rows, because one number a serves all rows. The frequency of the layer starts at 2 * 2 = 4, times a weight up to 1.
inputs = [points[:, None], np.array([0.5, 1.5])]
print("derivatives:", sa.gradcheck(snake, inputs), sa.gradgradcheck(snake, inputs))
found = best_error(LearnedSnake, 3, (0, 0.1))
print(f"frequency 3, test MSE: learned frequencies {found:.4f}, straight line {line_error(3):.4f}")
assert found < 0.7 * line_error(3)
