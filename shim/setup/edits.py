"""Put a setting into the text of a settings file: everything else in it stays as it is.

Pure: from text to text. A setting that is already right leaves the text untouched, so every edit may be made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_HEADER = re.compile(r"\s*\[([^\]]*)\][ \t]*(.*)", re.DOTALL)
_BEGIN, _END = "// shim setup: begin", "// shim setup: end"
_BLOCK = re.compile(rf"^{_BEGIN}\r?\n(?:(?!{_BEGIN}).*\n)*?{_END}(?:\r?\n|\Z)", re.MULTILINE)


class NotEditable(ValueError):
    """A text has a form in which no setting can be put safely. `reason` is the id of a message that says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Slot:
    """One line that must stand in the file, and which lines say something else in its place.

    `replaces` is a pattern for the beginning of a line, after blanks; of such lines the first becomes `line` and the
    others become comments. `section` is a pattern for the name in [brackets], "" for what stands before the first of
    them, None in a file that has no sections. Without such a section, `header` begins one; "" puts the line in front.
    """

    line: str
    replaces: str
    section: str | None = None
    header: str = ""
    indent: str = ""
    folded: bool = False
    """Whether a line that is indented further continues the one before it, as in Python's INI files."""

    def put(self, text: str) -> str:
        """The text with the line in it."""
        lines = _LINE.findall(text)
        newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
        places = self._places(lines)
        if not places:
            return "".join(self._inserted(lines, newline))
        kept = next((place for place in places if lines[place].strip() == self.line), places[0])
        for place in places:
            if place != kept:
                lines[place] = f"# {lines[place]}"
            elif lines[place].strip() != self.line:
                lines[place] = _replaced(lines[place], self.line)
        return "".join(lines)

    def _places(self, lines: Sequence[str]) -> list[int]:
        """Where lines stand that set the same, or already this."""
        places = [
            number
            for number, inside in enumerate(self._inside(lines))
            if inside and re.match(self.replaces, lines[number].lstrip())
        ]
        for place in places:
            goes_on = self.folded and len(_indent_after(lines, place)) > len(_indent(lines[place]))
            if goes_on or lines[place].rstrip().endswith("\\"):
                raise NotEditable("setup.not_editable.continued")
        return places

    def _inside(self, lines: Sequence[str]) -> Iterator[bool]:
        """For each line, whether it is one of the section's."""
        name = ""
        for line in lines:
            header = None if self.section is None else _HEADER.match(line)
            if header:
                name = header[1]
                if self._is_mine(name) and header[2].strip() and header[2].lstrip()[0] not in "#;":
                    raise NotEditable("setup.not_editable.header")
            yield not header and self._is_mine(name)

    def _is_mine(self, name: str) -> bool:
        return self.section is None or re.fullmatch(self.section, name) is not None

    def _inserted(self, lines: list[str], newline: str) -> list[str]:
        line = f"{self.line}{newline}"
        if self.section == "":
            return [line, *lines]
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += newline
        headers = [] if self.section is None else [number for number, each in enumerate(lines) if self._opens(each)]
        if headers:
            # A line that is indented further would continue ours: ours is then as far in as what follows.
            indent = _indent_after(lines, headers[0]) if self.folded else self.indent
            return [*lines[: headers[0] + 1], indent + line, *lines[headers[0] + 1 :]]
        return [*lines, *([f"{self.header}{newline}"] if self.header else []), self.indent + line]

    def _opens(self, line: str) -> bool:
        header = _HEADER.match(line)
        return header is not None and self._is_mine(header[1])


@dataclass(frozen=True, slots=True)
class Block:
    """Lines at the end of a file in which the last word counts, such as user.js."""

    lines: tuple[str, ...]

    def put(self, text: str) -> str:
        """The text with this block, and no other of ours, at its end."""
        newline = "\r\n" if "\r\n" in f"{text}\n" else "\n"  # a last "\r" becomes one with what is put behind it
        block = newline.join([_BEGIN, *self.lines, _END, ""])
        rest = _BLOCK.sub("", text)
        if rest.rfind("/*") > rest.rfind("*/"):
            raise NotEditable("setup.not_editable.comment")
        if rest and not rest.endswith("\n"):
            rest += newline
        return rest + block


Edit = Slot | Block


@dataclass(frozen=True, slots=True)
class Edits:
    """What is done to one file, in order. A text with a line that begins with `unless` is left to its owner."""

    steps: tuple[Edit, ...]
    unless: str = ""

    def apply(self, text: str) -> str:
        """The text with all settings in it. NotEditable where that is not safe."""
        if self.unless and re.search(rf"^[ \t]*(?:{self.unless})", text, re.MULTILINE):
            raise NotEditable("setup.not_editable.parts")
        for step in self.steps:
            text = step.put(text)
        return text


def _replaced(old: str, new: str) -> str:
    """The new line with the indentation and the line end of the old one."""
    end = old[len(old.rstrip("\r\n")) :]
    return f"{_indent(old)}{new}{end}"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())].rstrip("\r\n")


def _indent_after(lines: Sequence[str], place: int) -> str:
    """Of the next line that says something."""
    for line in lines[place + 1 :]:
        if line.strip() and line.lstrip()[0] not in "#;":
            return _indent(line)
    return ""
