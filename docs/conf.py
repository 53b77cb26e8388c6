"""How the documentation is built (Python 3.11 or newer):

    pip install -e '.[docs]' && sphinx-build -W -b html docs outputs/docs

Everything on the pages that can be run is run: the tutorials, the examples, the drawings, the command line's help.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
GENERATED = HERE / "_generated"
sys.path.insert(0, str(HERE / "_ext"))

import course_pages  # noqa: E402
import drawings  # noqa: E402
import notebooks  # noqa: E402
import tutorial_pages  # noqa: E402
from plain_text import to_rst  # noqa: E402

import scratchae  # noqa: E402
from scratchae.__main__ import main as scratchae_main  # noqa: E402

project = "scratchae"
author = "The scratchae authors"
copyright = author
version = release = scratchae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # nothing is loaded from elsewhere
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_generated", "gallery/*.py", "gallery/*.md5", "gallery/*.json"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

smartquotes_action = "D"  # dashes only: "bce" is a string

html_theme = "furo"
html_title = f"scratchae {release}"
html_static_path = ["_static"]
html_css_files = ["scratchae.css"]
html_extra_path = ["_generated/pages"]  # the page that an example writes
html_theme_options = {"light_css_variables": {"code-font-size": "77%"}}
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = ">>> "

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 120
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
nitpicky = True
nitpick_ignore_regex = [  # types from elsewhere, and names of our own that are no part of the API
    ("py:.*", r"(np|numpy|collections|typing|os|matplotlib|pathlib|sklearn|argparse|contextlib)\..*"),
    ("py:.*", r"(Any|Array|ArrayLike|Figure|FilePath|Size|Iterable|Mapping|Callable|optional)"),
    ("py:.*", r"scratchae\..*\._\w+|_\w+"),
    ("py:.*", r"scratchae\.(backend\.Array|nn\.layer\.Layer|nn\.losses\.Loss|\w+\.FilePath|attach\.Function)"),
    ("py:class", r"scratchae\.(images\.layers\.Conv|autoencoders\.prior\.NormalCodeAutoencoder)"),
    ("py:.*", r"scratchae\.(fast|optim)\.\w+\.\w+"),
]


sphinx_gallery_conf = {
    "examples_dirs": str(tutorial_pages.COPIES),
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d[0-9A-Z]+_",
    "within_subsection_order": "tutorial_pages.course_order",
    "image_scrapers": ("tutorial_pages.pictures",),
    "reset_modules": ("tutorial_pages.prepare",),
    "reset_argv": "tutorial_pages.arguments",
    "capture_repr": (),
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "show_signature": False,
    "show_memory": False,
    "download_all_examples": False,
    "notebook_extensions": set(),  # notebooks.py writes notebooks that run by themselves
    "write_computation_times": False,
}

# --- what is made before the pages are read -------------------------------------------------------


def write_help(folder: Path) -> None:
    """What the command line says of itself."""
    os.environ.update(COLUMNS="96", NO_COLOR="1")
    for verb in ("", "train", "anomaly", "explore"):
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            scratchae_main([*([verb] if verb else []), "--help"])
        shown = text.getvalue() if not verb else text.getvalue().partition("\nexamples:")[0]
        (folder / f"help{'-' * bool(verb)}{verb}.txt").write_text(shown.rstrip() + "\n")


def run_examples(folder: Path) -> None:
    """Every example of the guides is run, and the pages show what it printed."""
    for example in sorted((HERE / "examples").glob("*.py")):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.chdir(folder):
            runpy.run_path(str(example), run_name="__main__")
        (folder / f"{example.stem}.txt").write_text(printed.getvalue())
    (folder / "pages").mkdir(exist_ok=True)
    (folder / "explorer.html").replace(folder / "pages" / "walk.html")


def write_benchmarks(folder: Path) -> None:
    """The benchmarks' two files, with links that hold in the site."""
    pages = {"README.md": "benchmarks.md", "ARCHIVE.md": "benchmarks_archive.md"}
    for name, page in pages.items():
        text = (HERE.parent / "benchmarks" / name).read_text()
        for here, there in {**pages, "../docs/inside/": "", "../docs/": "../"}.items():
            text = text.replace(f"]({here}", f"]({there}")
        (folder / page).write_text(text)


def check_names() -> None:
    """The tables of names promise nothing that is not there."""
    from scratchae import functional, nn, optim

    places = {"sa": scratchae, "F": functional, "nn": nn, "optim": optim}
    for page in HERE.glob("from_*.md"):
        for prefix, name in re.findall(r"(?<![\w.])(sa|F|nn|optim)\.(\w+)", page.read_text()):
            getattr(places[prefix], name)


# --- docstrings -----------------------------------------------------------------------------------

PUBLIC = {
    "scratchae": "scratchae",
    **{f"scratchae.{name}": name for name in ("functional", "nn", "nn.init", "optim", "autoencoders", "data",
                                              "data.noise", "measures", "plotting", "interop", "sklearn")},
}  # fmt: skip


def exported(module: str) -> list[str]:
    """The names that a module offers, but for modules."""
    m = importlib.import_module(module)
    own = [n for n, v in vars(m).items() if inspect.isfunction(v) and v.__module__ == module and n[0] != "_"]
    return [n for n in getattr(m, "__all__", own) if not inspect.ismodule(getattr(m, n))]


def _places() -> dict[str, str]:
    """Where a name in backticks is documented: classes by their names, functions with their module's."""
    places: dict[str, str] = {}
    for module, short in PUBLIC.items():
        for name in exported(module):
            places[f"{short}.{name}"] = f"{module}.{name}"
            if name[0].isupper() and not name.isupper():
                places.setdefault(name, f"{module}.{name}")
    places |= {f"sa.{name}": f"scratchae.{name}" for name in exported("scratchae")}
    places |= {"plugins.Run": "scratchae.plugins.Run", "Run": "scratchae.plugins.Run"}
    return places


PLACES = _places()


def code(text: str) -> str:
    """What stands in backticks: a link where it names something documented."""
    target = PLACES.get(re.sub(r"\(.*", "", text)) if re.fullmatch(r"[\w.]+(\(\))?", text) else None
    return f":py:obj:`{text} <{target}>`" if target else f"``{text}``"


def docstring(app, what, name, obj, options, lines) -> None:
    lines[:] = to_rst(lines, code)
    if "Attributes:" in lines:  # Sphinx takes the first of two names for a type
        after = lines.index("Attributes:") + 1
        lines[after:] = [re.sub(r"^(\s+\w+), (\w+:)", r"\1,\2", line) for line in lines[after:]]
    if what == "property":  # napoleon takes what stands before a colon for a type, but not in literals
        lines[:] = [re.sub(r"'[^']+'", r"``\g<0>``", line) for line in lines]


# --- whether everything is there ------------------------------------------------------------------


def check_api(app, env) -> None:
    from sphinx.util import logging

    documented = env.domains["py"].objects
    for module in PUBLIC:
        again = exported("scratchae") if module != "scratchae" else []  # documented as scratchae.<name>
        for name in exported(module):
            if f"{module}.{name}" not in documented and name not in again:
                logging.getLogger(__name__).warning("%s.%s is not in the API pages", module, name)


def setup(app) -> None:
    GENERATED.mkdir(exist_ok=True)
    tutorial_pages.write_copies()
    notebooks.write_notebooks(tutorial_pages.TITLES, tutorial_pages.SCRIPTS, GENERATED / "notebooks")
    course_pages.write_tables(GENERATED)
    write_help(GENERATED)
    run_examples(GENERATED)
    write_benchmarks(GENERATED)
    check_names()
    drawings.draw_walk(HERE / "inside" / "walk.svg")  # the drawings are in git, for those who read the pages there
    drawings.draw_layers(HERE / "inside" / "layers.svg")
    drawings.draw_autoencoder(HERE / "course" / "autoencoder.svg")
    app.add_role("tutorial", course_pages.Tutorial())
    app.connect("autodoc-process-docstring", docstring, priority=400)  # before napoleon reads the sections
    app.connect("env-check-consistency", check_api)
