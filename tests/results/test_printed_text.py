"""What is printed is printable: bars, tracebacks, lists of plugins, Markdown, cells."""

import csv
import io
import os
import subprocess
import sys
import warnings

from foreign_text import FAKE, HIDDEN, MARKUP, wrong_terminal
from test_shown_text import shop
from typer.testing import CliRunner

from skinxai import cli
from skinxai.cli import app
from skinxai.cli.saying import show_traceback
from skinxai.images.sources import describe
from skinxai.plain_text import markdown, markdown_code
from skinxai.results.folder import table

__all__ = ["shop"]  # fixtures


def test_whatever_is_printed_is_printable(monkeypatch, shop) -> None:
    def models() -> list:
        print(f"by a package: \x1b]0;title\x07\r{FAKE}")
        print(f"on standard error: \x9b2J\u202e\r{FAKE}", file=sys.stderr)
        warnings.warn(f"of a package\x1b[2K\n{FAKE}", RuntimeWarning, 1)
        return []

    monkeypatch.setattr("skinxai.model_folders.opening.models_at_hand", models)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        found = CliRunner().invoke(app, ["models"])
    assert not wrong_terminal(found.stdout) and not wrong_terminal(found.stderr)
    assert found.stdout == f"by a package: \\x1b]0;title\\x07\\r{FAKE}\n"
    assert found.stderr.splitlines()[-1] == f"note: of a package\\x1b[2K {FAKE}"


def test_a_bar_still_moves(capfd) -> None:
    from skinxai.cli.saying import printable_output
    from skinxai.progress import bar

    with printable_output(), bar(True, total=2, desc="a\x1b[2Kb") as shown:
        shown.update(2)
    text = capfd.readouterr().err
    assert text.startswith("\ra\\x1b[2Kb:") and "\x1b[2K" not in text and "2/2" in text


def test_a_traceback_is_printable(capsys) -> None:
    try:
        raise RuntimeError(f"\x1b[2K\r{FAKE}\u202e\ud800")
    except RuntimeError as error:
        show_traceback(type(error), error, error.__traceback__)
    said = capsys.readouterr().err
    assert not wrong_terminal(said)
    assert said.splitlines()[-1] == f"RuntimeError: \\x1b[2K\\r{FAKE}\\u202e\\ud800"


def test_the_program_shows_tracebacks_so(monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(cli, "app", lambda: None)
    cli.main()
    assert sys.excepthook is show_traceback


def test_plugins_are_listed_in_printable_text(tmp_path) -> None:
    texts = {name: HIDDEN[name] for name in ("csi", "clipboard", "newline", "override", "byte")}
    for name, text in texts.items():
        module = f"plug_{name}"
        (tmp_path / f"{module}.py").write_text(f"raise RuntimeError({text!a})\n")
        info = tmp_path / f"{module}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\x1b[2K\n"
        )
        (info / "entry_points.txt").write_text(f"[skinxai]\n{name} = {module}\n")
    code = "from skinxai.cli import main; main()"
    places = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    found = subprocess.run(
        [sys.executable, "-c", code, "plugins"], capture_output=True, text=True, encoding="utf-8",
        env=os.environ | {"PYTHONPATH": places, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert not wrong_terminal(found.stdout + found.stderr)
    assert found.stdout.count("RuntimeError: ") == len(texts)


def test_markdown_shows_text_as_it_is() -> None:
    assert markdown("a|b_c <x> ![y](z) _d_ `e`") == (
        r"a\|b_c \<x\> \!\[y\](z) \_d\_ \`e\`"
    )  # fmt: skip
    assert [markdown_code(t) for t in ("nv", "a|b", "`x`")] == ["`nv`", r"a\|b", r"\`x\`"]


def test_cells_are_torn_by_nothing() -> None:
    for text in (HIDDEN | MARKUP).values():
        source = describe(text)
        rows = list(csv.reader(io.StringIO(table([{"source": source, "label": "nv"}]))))
        assert rows[1][0].removeprefix("'") == source and rows[1][1] == "nv"
