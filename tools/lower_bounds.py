"""Print the lowest versions of the dependencies that pyproject.toml allows, for pip.

Extras are the arguments. The package must be installed, for example without its dependencies:

    pip install --no-deps -e .
    pip install $(python tools/lower_bounds.py test fast)
"""

import re
import sys
from importlib.metadata import requires


def lowest(requirements, extras):
    """Return `name==version` of each requirement `name>=version` that is needed with these extras."""
    found = []
    for requirement in requirements:
        needed, _, condition = requirement.partition(";")
        extra = re.search(r"extra == ['\"](.+?)['\"]", condition)
        if extra is None or extra[1] in extras:
            if not re.fullmatch(r"[\w.-]+>=[\w.]+", needed.strip()):
                raise SystemExit(f"{requirement} has no lower bound; write name>=version")
            found.append(needed.strip().replace(">=", "=="))
    return found


if __name__ == "__main__":
    print(*lowest(requires("scratchae"), sys.argv[1:]))
