"""Reads a page that we made as a browser would, and sees what it would load."""

from html.parser import HTMLParser

_VOID = {"meta"}


class Reader(HTMLParser):
    """Sees that what is opened is closed, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [
            f"{name}={value}" for name, value in attrs if name in ("href", "src", "style")
        ]
        self.links += [f"{name}={value}" for name, value in attrs if "//" in (value or "")]
        if tag not in (*_VOID, "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    """A page, seen to be well-formed."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader
