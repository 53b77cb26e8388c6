"""The simulated plant of tutorial 10B: normal rows, and rows with faults. The formulas are in the tutorial."""

from __future__ import annotations

import numpy as np

SENSORS = ("speed", "valve", "pressure", "flow", "power", "heater", "inlet", "outlet", "bearing", "room")
KINDS = ("stuck", "drift", "wrong scale", "lost heat", "overload")


def plant(rows: int, seed: int, noise: float = 0.02, load: float = 1.0, heat: float = 1.0) -> dict[str, np.ndarray]:
    """A table of `rows` moments: ten columns of numbers, and "fluid".

    Args:
        rows: moments, one after the other.
        seed: of all random numbers.
        noise: of each sensor, in standard deviations of its column.
        load: a factor of the speed and of the heater's power.
        heat: the share of the heater's power that reaches the fluid.
    """
    rng = np.random.default_rng(seed)

    def wander(steps: int) -> np.ndarray:
        """Values of mean 0 and variance 1 that forget their past after about `steps` rows."""
        keep, values = np.exp(-1 / steps), rng.standard_normal(rows)
        for i in range(1, rows):
            values[i] = keep * values[i - 1] + np.sqrt(1 - keep**2) * values[i]
        return values

    def between(low: float, high: float) -> np.ndarray:
        return low + (high - low) * (1 + np.tanh(0.8 * wander(30))) / 2

    speed, valve, heater = between(0.3, 1) * load, between(0.1, 1), between(5, 40) * load
    inlet, room = 20 + 5 * wander(30), 15 + 6 * wander(30)
    fluid = np.where(wander(60) > 0, "water", "glycol")
    flow = np.sqrt(32 * valve**2 * speed**2 / (1 + 2 * valve**2))  # solves the equations of pump and valve
    pressure = 8 * speed**2 - flow**2 / 2
    power = 0.3 + pressure * flow / 4 + 0.8 * speed**3
    outlet = inlet + heat * heater / (np.where(fluid == "water", 4.2, 3.4) * flow)
    bearing = room + 8 * power + (inlet - 15) / 5
    values = (speed, valve, pressure, flow, power, heater, inlet, outlet, bearing, room)
    noisy = [x + noise * x.std() * rng.standard_normal(rows) for x in values]
    return dict(zip(SENSORS, noisy, strict=True)) | {"fluid": fluid}


def with_faults(rows: int, seed: int, noise: float = 0.02) -> dict[str, tuple[dict[str, np.ndarray], np.ndarray]]:
    """For each kind, the rows of `plant` with this fault, and the number of the faulty sensor in each row."""
    found = {}
    for kind in KINDS:
        load, heat = 1.3 if kind == "overload" else 1.0, 0.8 if kind == "lost heat" else 1.0
        table = plant(rows, seed, noise, load, heat)
        faulty = np.full(rows, SENSORS.index("outlet" if kind == "lost heat" else "flow"))
        if kind == "wrong scale":
            table["flow"] = 0.9 * table["flow"]
        if kind in ("stuck", "drift"):
            faulty = np.arange(rows) * len(SENSORS) // rows  # each sensor in turn
            for i, name in enumerate(SENSORS):
                values = table[name][faulty == i]
                ramp = np.linspace(0, table[name].std(), len(values))
                table[name][faulty == i] = values[0] if kind == "stuck" else values + ramp
        found[kind] = table, faulty
    return found
