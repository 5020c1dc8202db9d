#!/usr/bin/env python3
"""Checks the relative links of the Markdown pages: the file is there, and so is the heading behind `#`.

    scripts/check_links.py            every tracked page, third_party left out
    scripts/check_links.py FILE...    these

Prints `file:line: why` for each broken link and how many were checked; exits 1 if one is broken. Links to other sites are not
followed, code is not looked into. Headings get GitHub's anchors: lower case, spaces become hyphens, punctuation goes, the second of
one name gets `-1`.
"""

import functools
import html
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = "third_party"

FENCE = re.compile(r"^(?:[ >]*(?:[-*+]|\d+[.)])?[ >]*)(`{3,}|~{3,})(.*)$")
HEADING = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
UNDERLINE = re.compile(r"^ {0,3}(=+|-+)[ \t]*$")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# The target may be in <>, may have brackets in pairs, and a title may follow it.
TARGET = r"[ \t]*\n?[ \t]*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))"
TITLE = r"(?:[ \t\n]+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?[ \t]*\n?[ \t]*"
INLINE = re.compile(r"\]\(" + TARGET + TITLE + r"\)")
DEFINITION = re.compile(r"^ {0,3}\[([^\]\n]+)\]:[ \t]*(?:<([^<>\n]*)>|(\S+))", re.MULTILINE)
REFERENCE = re.compile(r"(?<!\\)\[([^\[\]]+)\]\[([^\[\]]*)\]")
ATTRIBUTE = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)[ \t]*=[ \t]*[\"']([^\"']*)[\"']", re.IGNORECASE)
NAMED = re.compile(r"<[a-z][a-z0-9]*\b[^>]*?\b(?:id|name)[ \t]*=[ \t]*[\"']([^\"']+)[\"']", re.IGNORECASE)
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
LINES = re.compile(r"^L\d+(?:C\d+)?(?:-L\d+(?:C\d+)?)?$")


def pages():
    """The tracked pages, from the root on."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    names = [name for name in listed.split("\0") if name]
    return [ROOT / name for name in names if LEFT_OUT not in Path(name).parts and (ROOT / name).exists()]


def blank(match):
    """As long as what was matched, with its lines, and without a character of it."""
    return re.sub(r"[^\n]", " ", match.group(0))


@functools.cache
def prose(page):
    """A page's text with code blocks and comments blanked; positions stay."""
    fence, lines = None, []
    for line in page.read_text(encoding="utf-8").splitlines():
        found = FENCE.match(line)
        if fence is None:
            # An info string with a backtick in it is a code span.
            if found and not (found.group(1)[0] == "`" and "`" in found.group(2)):
                fence, line = found.group(1), ""
        else:
            closes = found and found.group(1).startswith(fence) and not found.group(2).strip()
            fence, line = (None if closes else fence), ""
        lines.append(line)
    return COMMENT.sub(blank, "\n".join(lines))


def heading_text(text):
    """What a heading shows: without links' targets and emphasis; code stays as it is written."""
    kept = []

    def keep(match):
        kept.append(match.group(2).strip())
        return f"\0{len(kept) - 1}\0"

    text = CODE_SPAN.sub(keep, text)
    text = re.sub(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])", r"\1", text)
    text = re.sub(r"<[^<>]+>", "", text)
    text = re.sub(r"(?<!\w)(_{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)", r"\2", text)
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
    text = html.unescape(text)
    return re.sub(r"\0(\d+)\0", lambda match: kept[int(match.group(1))], text)


def slug(text):
    """GitHub's anchor of a heading's text."""

    def stays(char):
        # Letters, marks, numbers, and what joins words.
        return char in " -_" or unicodedata.category(char)[0] in "LMN" or unicodedata.category(char) == "Pc"

    return "".join(char for char in text.strip().lower() if stays(char)).replace(" ", "-")


@functools.cache
def anchors(page):
    """All that a `#` may name in a page."""
    found, seen = set(), {}
    text = prose(page)
    lines = text.splitlines()
    for at, line in enumerate(lines):
        heading = HEADING.match(line)
        if heading:
            title = heading.group(2) or ""
        elif at + 1 < len(lines) and UNDERLINE.match(lines[at + 1]) and re.match(r" {0,3}[^\s>|#*+-]", line):
            title = line
        else:
            continue
        base = slug(heading_text(title))
        name = base
        while name in seen:
            seen[base] += 1
            name = f"{base}-{seen[base]}"
        seen[name] = 0
        found.add(name)
    return found | set(NAMED.findall(CODE_SPAN.sub(blank, text)))


def links(page):
    """Each link of a page: where in its text, and to what; a target of None is a reference that nothing defines."""
    text = CODE_SPAN.sub(blank, prose(page))
    for pattern in (INLINE, DEFINITION, ATTRIBUTE):
        for match in pattern.finditer(text):
            groups = [group for group in match.groups()[-2:] if group is not None]
            yield match.start(), groups[-1] if groups else "", None
    defined = {" ".join(match.group(1).lower().split()) for match in DEFINITION.finditer(text)}
    for match in REFERENCE.finditer(text):
        label = match.group(2) or match.group(1)
        if " ".join(label.lower().split()) not in defined:
            yield match.start(), None, label


def broken(page, target):
    """Why a link does not lead anywhere; `None` where it does."""
    path, _, anchor = target.partition("#")
    path, anchor = unquote(path.partition("?")[0]), unquote(anchor)
    if path.startswith("/"):
        to = ROOT / path.lstrip("/")
    else:
        to = (page.parent / path) if path else page
    to = to.resolve()
    if not to.is_relative_to(ROOT):
        return f"{target} leads out of the repository"
    if not to.exists():
        return f"{target}: there is no {to.relative_to(ROOT)}"
    if not anchor:
        return None
    if to.is_dir():
        to = to / "README.md"
        if not to.exists():
            return f"{target}: a folder without a README.md has no headings"
    if to.suffix != ".md":
        return None if LINES.match(anchor) else f"{target}: only a line (#L1) can be named in {to.relative_to(ROOT)}"
    # GitHub finds headings whatever the case of what is asked for.
    if anchor.lower() in {name.lower() for name in anchors(to)}:
        return None
    return f"{target}: there is no heading #{anchor} in {to.relative_to(ROOT)}"


def main():
    named = [Path(name).resolve() for name in sys.argv[1:]]
    looked_at = named or pages()
    checked = bad = 0
    for page in looked_at:
        text = prose(page)
        name = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
        found = []
        for at, target, undefined in links(page):
            if target is not None and (SCHEME.match(target) or target.startswith("//")):
                continue
            checked += 1
            if undefined is not None:
                why = f"[{undefined}] is defined nowhere"
            elif not target:
                why = "a link to nothing"
            else:
                why = broken(page, target)
            if why:
                found.append((text.count("\n", 0, at) + 1, why))
        for line, why in sorted(found):
            print(f"{name}:{line}: {why}")
        bad += len(found)
    print(f"{checked} links in {len(looked_at)} pages, {bad} broken")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
