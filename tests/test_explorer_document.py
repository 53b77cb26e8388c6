"""The explorer's page as a document: valid HTML with a title, a description, and labels of one control each."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import scratchae as sa

VOID = {"input", "link", "meta"}  # elements without an end
LABELLED = {"button", "input", "meter", "output", "progress", "select", "textarea"}


class Elements(HTMLParser):
    """All elements of a text, in their order. The parser asserts that start and end tags match."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.around: list[str] = []
        self.feed(text)
        self.close()
        assert not self.around

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.around.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.around.pop() == tag, self.getpos()


@pytest.fixture
def text(tmp_path: Path) -> str:
    images = np.random.default_rng(0).random((30, 1, 8, 8), dtype=np.float32)
    sa.explore(sa.Autoencoder.dense((64, 12, 2)), tmp_path / "page.html", images, np.arange(30) % 3, "Codes & digits")
    return (tmp_path / "page.html").read_text()


def test_the_page_tells_its_language_title_and_content(text: str) -> None:
    found = Elements(text).found
    assert text.startswith("<!DOCTYPE html>\n") and "<title>Codes &amp; digits</title>" in text
    assert found[0] == ("html", {"lang": "en", "data-theme": "light"})
    (description,) = [given["content"] for tag, given in found if given.get("name") == "description"]
    assert description is not None and 50 <= len(description) <= 160  # as much as a search engine shows


def test_names_of_elements_are_unique_and_known(text: str) -> None:
    found = Elements(text).found
    names = [given["id"] for _, given in found if "id" in given]
    assert len(set(names)) == len(names)
    for reference in ("aria-controls", "aria-labelledby", "aria-describedby", "for"):
        assert {given[reference] for _, given in found if reference in given} <= set(names)


def test_a_label_has_one_control(text: str) -> None:
    labels = re.findall(r"<label.*?</label>", text.partition("<script")[0], re.S)
    assert len(labels) == text.partition("<script")[0].count("<label") > 5
    for label in labels:
        assert sum(tag in LABELLED for tag, _ in Elements(label).found) == 1, label


def test_a_button_without_text_is_hidden_until_the_script_names_the_button(text: str) -> None:
    page = text.partition("<script")[0]
    outside = page.partition("<main hidden>")[0] + page.partition("</main>")[2]
    buttons = re.findall(r"<button(.*?)>(.*?)</button>", outside, re.S)
    assert len(buttons) == 1 and all(words.strip() or "hidden" in options for options, words in buttons)
