"""What happens to files: cut, torn, joined by other bytes, written by another program."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from basins.errors import UserError

PIECES = [
    b"",
    b"\0",
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\r",
    b"\t",
    b"\t\t",
    b",",
    b'"',
    b'""',
    b"'",
    b"\\",
]
PIECES += [b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", "é\u2028\x85\u00a0".encode(), b"\xed\xa0\x80"]
PIECES += [b"{", b"}", b"[", b"null", b"NaN", b"-1", b"1e999", b"0.5", b"9" * 30, b"9" * 5000]
PIECES += [b"x" * 70_000, b"label", b"sentence1", b"Run 1", b"\\ud800", b"[" * 3000, b"\x80\x02"]


@st.composite
def mangled(draw: DrawFn, content: bytes) -> bytes:
    """Return the content with up to three things done to it."""
    for _ in range(draw(st.integers(1, 3))):
        start, stop = sorted(draw(st.integers(0, len(content))) for _ in range(2))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
        kind = draw(st.sampled_from(["cut", "end", "put", "swap", "again", "code", "flip", "near"]))
        near = content[start : start + len(piece)]
        content = {
            "cut": content[:start] + content[stop:],
            "end": content[:start],
            "put": content[:start] + piece + content[start:],
            "swap": content[:start] + piece + content[stop:],
            "again": content[:stop] + content[start:],
            "code": content.decode("latin-1").encode(draw(st.sampled_from(["utf-16", "utf-8"]))),
            "flip": content[:start]
            + bytes(b ^ 1 for b in content[start:][:1])
            + content[start + 1 :],
            "near": content[:start] + piece + content[start + len(near) :],
        }[kind]
    return content


def line(error: UserError) -> str:
    """Return what was said, which is to be one line that is not too long."""
    said = str(error)
    assert said.isprintable() and len(said) < 2000, said
    return said


def damages(contents: dict[str, bytes]) -> SearchStrategy[dict[str, bytes]]:
    """Return files of which one is mangled."""
    return st.sampled_from(sorted(contents)).flatmap(
        lambda name: mangled(contents[name]).map(lambda content: contents | {name: content})
    )
