"""Pages of the documentation as the tests read them: README.md and docs/*.md, and the code blocks on them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"(?:<!-- not run: ([^\n]+) -->\n)?```([^\n]*)\n(.*?)```", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: file name, relative to the checkout.
        line: of the page where the block begins.
        language: of the fence.
        code: what stands inside.
        not_run: the reason why no test runs it; None where one does.
    """

    page: str
    line: int
    language: str
    code: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str, pages=PAGES) -> list[Block]:
    """Returns the blocks in these languages, in all of them where none is named, page by page."""
    found = []
    for page in pages:
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start(2)) + 1
            found.append(Block(page, line, match[2], match[3], match[1]))
    return [block for block in found if not languages or block.language in languages]
