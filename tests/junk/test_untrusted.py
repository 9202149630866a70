"""Files and names that mean harm: nothing runs, leaves its folder or breaks out of a page."""

from __future__ import annotations

import builtins
import copyreg
import functools
import io
import json
import os
import pickle
import shlex
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from basins.data import cifar10, files
from basins.errors import UserError
from basins.nets import bert, checkpoint
from basins.report import explorer, page, tables
from basins.settings.values import Model, Models, Name
from tests.junk.test_formats import CIFAR, put, trust_cifar
from tests.report import planted


class Calls:
    """Unpickled, it calls a function."""

    def __init__(self, function: Any, *given: Any) -> None:
        self.made = function, given

    def __reduce__(self) -> Any:
        return self.made


def attacks(mark: Path) -> dict[str, bytes]:
    """Return pickles that would leave a mark, by what they use."""
    code = f"open({str(mark)!r}, 'w')"
    (mark.parent / "inner").write_bytes(pickle.dumps(Calls(os.system, f"touch {mark}")))
    array = str(mark.parent / "inner.npy")
    np.save(array, np.array([Calls(os.system, f"touch {mark}")], object))
    calls = {
        "system": Calls(os.system, f"touch {mark}"),
        "popen": Calls(subprocess.Popen, ["touch", str(mark)]),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "numpy.load": Calls(np.load, array, None, True),
        "torch.load": Calls(torch.load, str(mark.parent / "inner")),
        "getattr": Calls(Calls(getattr, Calls(getattr, builtins, "exec"), "__call__"), code),
        "partial": Calls(functools.partial(exec, code)),
        "open": Calls(open, str(mark), "w"),
        "touch": Calls(Path.touch, mark),
        "reconstruct": Calls(vars(copyreg)["_reconstructor"], Calls, object, None),
    }
    found = {}
    for name, call in calls.items():
        for protocol in (0, 2, 4):
            try:
                found[f"{name} {protocol}"] = pickle.dumps({"data": call, "labels": [0]}, protocol)
            except (pickle.PicklingError, TypeError):
                continue
    # What is known is used against what reads it: attributes of a class, its call, a long chain.
    known = b"\x80\x02cnumpy\nndarray\n"
    found["attributes"] = known + b"N}U\x0c__setstate__cposix\nsystem\ns\x86b."
    found["chain"] = b"\x80\x04\x8c\x05numpy\x8c\x16ndarray.__class__.mro\x93."
    found["dtype"] = (
        b"\x80\x02cnumpy\ndtype\n(U\x01OK\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffK\x00tb."
    )
    found["instance"] = b"(S'touch " + str(mark).encode() + b"'\nios\nsystem\n."
    found["persistent"] = b"Pos.system\n."
    found["extension"] = b"\x82\x01."
    found["deep"] = b"(" * 100_000
    found["memo"] = b"\x80\x02r\xff\xff\xff\x7f."
    return found


@pytest.mark.parametrize("trusted", [True, False], ids=["md5 forged", "md5 wrong"])
def test_no_pickle_in_place_of_a_batch_runs(tmp_path, monkeypatch, trusted: bool) -> None:
    mark, count = tmp_path / "mark", 0
    for name, content in attacks(mark).items():
        for file in CIFAR:
            put(tmp_path, CIFAR | {file: content})
            trust_cifar(monkeypatch, CIFAR | {file: content} if trusted else CIFAR)
            with pytest.raises(UserError) as caught:
                cifar10.load(source="files", root=tmp_path, seed=0)
            assert ("not as published" if trusted else "damaged") in str(caught.value), name
            assert not mark.exists(), name
            count += 1
    assert count > 90
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {mark}")))
    assert mark.exists()  # they do work


def test_nothing_that_a_pickle_sets_stays() -> None:
    before = dict(vars(files._Record))
    with pytest.raises(UserError):
        files.unpickle(b"\x80\x02cnumpy\nndarray\nN}U\x08__init__cnumpy\ndtype\ns\x86b.", "x")
    assert dict(vars(files._Record)) == before
    content = pickle.dumps({"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "b": [1]})
    assert files.unpickle(content, "x")["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def archive(path: Path, members: dict[str, bytes | str]) -> None:
    """Write a tar of files, and of links where the content is a text."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def test_of_an_archive_only_the_official_files_are_written(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    right = {"cifar/a": b"1", "cifar/b": b"2"}
    bad = {"../out": b"x", str(tmp_path / "absolute"): b"x", "cifar/../../out": b"x", "more": b"x"}
    archive(inside / "a.tgz", {"cifar/link": "../../out", "cifar/link/x": b"x", **bad, **right})
    files.extract(inside / "a.tgz", right, inside)
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"inside/a.tgz", "inside/cifar/a", "inside/cifar/b"}
    for content in ("/etc/hostname", "../../out"):
        archive(inside / "b.tgz", {"cifar/a": content})
        with pytest.raises(UserError, match="not readable"):
            files.extract(inside / "b.tgz", right, inside)
    (inside / "c.tgz").write_bytes((inside / "a.tgz").read_bytes()[:60])
    with pytest.raises(UserError, match="not readable"):
        files.extract(inside / "c.tgz", right, inside)


def test_a_download_is_whole_or_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "download_url", lambda url, *_: fetch(url, tmp_path))
    assert files.download("X", ["http://down/a", "http://up/a"], tmp_path, "0") == tmp_path / "a"
    with pytest.raises(UserError, match=r"^X: could not be downloaded \(no route\); see `files`$"):
        files.download("X", ["http://down/a"], tmp_path, "0")


def fetch(url: str, folder: Path) -> None:
    if "down" in url:
        raise RuntimeError("no\nroute")
    (folder / "a").touch()


TYPES: dict[str, Any] = {"name": Name, "models": Models, "model": Model}
ODD = [
    *("", ".", "..", "/", "a/", "/a", "a//b", "a/../b", "../a", "a\\b", "a\0", "a\n", "a\r", "-a"),
    *("--help", "_a", "a.", "a.b", "a b", " a", "a\t", "~", "~a", "$a", "${a}", "$(a)", "`a`"),
    *("a;b", "a&b", "a|b", "a>b", "a<b", "a*", "a?", "[a]", "{a,b}", "a'b", 'a"b', "a#b", "#a"),
    *("!a", "a=b", "a%b", "a@b", "a:b", "A", "é", "ª", "ı", "\U0001d7d8", "\uff11", "a\u200b"),
    *("a\u202e", "a\u2028", "a\ud800", "x" * 257, "x" * 100_000, "con.", "nul:", "a\x7f"),
    *("a\x1b[2J", "a\u0301", "a/\u2024\u2024/b"),
]


@pytest.mark.parametrize("kind", TYPES)
@given(name=st.sampled_from(ODD) | st.text(max_size=12) | st.from_regex(r"[ -~]{1,12}"))
def test_a_name_that_is_taken_is_one_plain_word(kind: str, name: str) -> None:
    try:
        TypeAdapter(TYPES[kind]).validate_python(name, strict=True)
    except ValidationError:
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_/") and len(name) <= 256
    assert kind != "name" or "/" not in name
    assert shlex.quote(name) == name and shlex.split(f"x {name}") == ["x", name]
    root = Path("/somewhere/models")
    inside = Path(os.path.normpath(root / name))
    assert inside == root / name and root in inside.parents


def test_odd_names_are_refused_of_every_kind() -> None:
    for kind, annotated in TYPES.items():
        for name in ODD:
            with pytest.raises(ValidationError):
                TypeAdapter(annotated).validate_python(name, strict=True)
                pytest.fail(f"{kind}: {name!r}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


def test_a_model_s_own_code_never_runs(folder: Path) -> None:
    from basins.data import vocabulary

    bert.build_text(9, 3, layers=1, width=8, heads=2).save_pretrained(folder)
    vocabulary.build(["a", "dog"]).save_pretrained(folder)
    code = f"open({str(folder / 'mark')!r}, 'w')\n"
    for name in ("tokenization_own", "modeling_own", "configuration_own"):
        (folder / f"{name}.py").write_text(code)
    own = {"AutoConfig": "configuration_own.C", "AutoTokenizer": ["tokenization_own.T", None]}
    own |= {"AutoModelForSequenceClassification": "modeling_own.M"}
    for name in ("config.json", "tokenizer_config.json"):
        told = json.loads((folder / name).read_text())
        kinds = {"tokenizer_class": "Own"} if "tokenizer" in name else {}
        (folder / name).write_text(json.dumps(told | {"auto_map": own} | kinds))
    for read in (checkpoint.load, checkpoint.tokenizer):
        try:
            read(folder)
        except UserError as error:
            assert str(error).split("\n") == [str(error)]
        assert not (folder / "mark").exists()


HOSTILE = [
    *("<script>alert(1)</script>", "</script><b>", "\u2028", '"><img src=x onerror=y>', "'"),
    *("{{ 7*7 }}", "{% raw %}", "\\input{/etc/passwd}", "a|b", "`c`", "$x_1$", "%", "&amp;", "\\"),
    *("<!--", "]]>", "\0"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_markup_in_page_or_table(text: str) -> None:
    rows = planted.tables(text)
    rows["samples"] = rows["samples"].assign(**{"class": text})
    packed = explorer.pack(rows, confidence=0.95, datasets={text: "shapes"})
    embedded = explorer.embed(packed)
    assert json.loads(embedded) == packed and "<" not in embedded
    frame = pd.DataFrame({text: [text, "x"], "n": [1, 2]})
    svg = "<svg xmlns='http://www.w3.org/2000/svg'><title>t</title></svg>"
    html = page.render(
        title=text, profile=text, headline=[text], claims=[], params=text, curves=packed,
        figures={"f": page.Drawing(text, text, svg)},
        tables={"t": page.Table(text, text, frame)},
        provenance={text: text, "git": {"branch": text, "message": text}},
    )  # fmt: skip
    plain = page.render(
        title="w", profile="w", headline=["w"], claims=[], params="w",
        curves=explorer.pack(planted.tables("w"), confidence=0.95, datasets={"w": "shapes"}),
        figures={"f": page.Drawing("w", "w", svg)},
        tables={"t": page.Table("w", "w", frame.rename(columns={text: "w"}).replace(text, "w"))},
        provenance={"w": "w", "git": {"branch": "w", "message": "w"}},
    )  # fmt: skip
    for mark in ("<script", "<img", "<b>", "</script", "<!--"):
        assert html.count(mark) == plain.count(mark), mark
    assert html.count("<") == plain.count("<")
    lines = tables.markdown(frame).splitlines()
    assert len(lines) == 4 and {len(line.replace("\\|", "").split("|")) for line in lines} == {4}
    assert "<" not in "".join(lines)
    written = tables.latex(frame)
    assert "\\input" not in written.replace("\\textbackslash input", "")


@pytest.mark.parametrize(
    "inner",
    [
        "<script>x</script>", "<SCRIPT>x</SCRIPT>", "<g onload='x'/>", "<g ONLOAD='x'/>",
        "<a href='javascript:x'><g/></a>", "<a xlink:href='javascript:x'><g/></a>",
        "<foreignObject><b/></foreignObject>", "<ForeignObject><b/></ForeignObject>",
        "<image href='http://x/y'/>", "<style>@import 'http://x'</style>", "<!-- x -->",
    ],
)  # fmt: skip
def test_a_drawing_brings_nothing_but_lines(inner: str) -> None:
    names = "xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink'"
    made = page.inline(f"<svg {names}><g id='a'/>{inner}</svg>", prefix="p-", label="l").lower()
    for word in ("script", "onload", "http://x", "foreign", "<style", "<!--"):
        assert word not in made
    assert 'id="p-a"' in made
