"""Reads an SVG file and holds it to need nothing else."""

from __future__ import annotations

import re
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


class Drawing:
    """A picture as a tree; AssertionError where it is not whole or leads elsewhere."""

    def __init__(self, text: str) -> None:
        self.root = ElementTree.fromstring(text)
        assert self.root.tag == f"{SVG}svg"
        style = self.root.findtext(f"{SVG}style") or ""
        # Viewers that are no browsers know no variables.
        assert not re.search(r"url\(|@import|var\(", style)
        assert self.root.attrib["viewBox"].startswith("0 0 ")
        ids = [found.attrib["id"] for found in self.root.iter() if "id" in found.attrib]
        assert len(ids) == len({*ids})
        for found in self.root.iter():
            assert found.tag not in (f"{SVG}image", f"{SVG}script", f"{SVG}use")
            assert not any(key.endswith(("href", "src")) for key in found.attrib)

    def texts(self) -> list[str]:
        """What is written, in order."""
        return [found.text or "" for found in self.root.iter(f"{SVG}text")]

    def tips(self, element: str) -> list[str]:
        """What a pointer over the elements of a kind shows."""
        found = (each.findtext(f"{SVG}title") for each in self.root.iter(SVG + element))
        return [tip for tip in found if tip is not None]

    def find(self, element: str, class_: str) -> list[ElementTree.Element]:
        """Elements of a kind with a class that is, or begins with, this one and a digit."""
        return [
            each
            for each in self.root.iter(SVG + element)
            if any(
                re.fullmatch(rf"{class_}\d*", name) for name in each.attrib.get("class", "").split()
            )
        ]
