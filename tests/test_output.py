"""Rows as table, JSON and CSV; numbers and hostile text as people read them."""

import csv
import io
import json
import math
import os
import pty
import select
import sys
import time
import unicodedata

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pinchpoint import output
from pinchpoint.human import escape
from pinchpoint.output import Column
from pinchpoint.progress import progress

COLUMNS = (Column("id", "ID", whole=True), Column("lost", "LOST", output.seconds), Column("cause", "CAUSE"), Column("note", "NOTE"))
ROWS = [
    {"id": "a1b2c3d4e5f6", "lost": 12.3, "cause": "single_process_loading", "note": "the data loader runs in the training process " * 3},
    {"id": "b1", "lost": 3600.0, "cause": "slow_gpu", "note": None},
]
HOSTILE = "\x1b[31mred\x07 \x9b2J\u202eevil\u2028\udcff\n"


def test_a_table_fits_its_width():
    """The widest text is cut, ids and numbers stay whole."""
    assert output.table(ROWS, COLUMNS, 60) == (
        "ID                 LOST  CAUSE              NOTE\n"
        "a1b2c3d4e5f6     12.3 s  single_process_l…  the data loader…\n"
        "b1            1 h 0 min  slow_gpu           -"
    )


@given(
    st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.text(), "n": st.integers(-(10**12), 10**12)}), min_size=1, max_size=5),
    st.integers(40, 120),
)
def test_no_line_is_wider_than_asked_for(rows, width):
    """Whatever the texts are, each row is one line that fits, and its number is whole."""
    columns = (Column("a", "A"), Column("n", "N"), Column("b", "B"))
    lines = output.table(rows, columns, width).split("\n")
    assert len(lines) == len(rows) + 1
    for line, row in zip(lines[1:], rows, strict=True):
        assert cell_len(line) <= width
        assert str(row["n"]) in line


@given(st.text())
def test_printable_text_holds_nothing_a_terminal_acts_upon(text):
    """No control character, no mark of direction, no half of a pair is left."""
    for character in output.printable(text):
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@pytest.mark.parametrize("output_format", output.FORMATS)
def test_hostile_text_reaches_no_terminal(output_format, capsys, monkeypatch):
    """Escape sequences in data are shown, not sent, in every format."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    output.emit([{"text": HOSTILE.replace("\udcff", "")}], [Column("text", "TEXT")], output_format)
    printed = capsys.readouterr().out
    assert escape(printed, keep="\r\n") == printed


def test_csv_is_what_rfc_4180_wants():
    """Lines end in CR LF, quotes are doubled, None and NaN are empty, lists are JSON."""
    rows = [{"a": 'say "hi", twice', "b": None, "c": [1, "x"]}, {"a": "two\nlines", "b": math.nan, "c": {"k": math.inf}}]
    text = output.csv_text(rows, [Column("a", "A"), Column("b", "B"), Column("c", "C")])
    assert text == 'a,b,c\r\n"say ""hi"", twice",,"[1, ""x""]"\r\n"two\nlines",,"{""k"": null}"\r\n'


@given(st.lists(st.fixed_dictionaries({"a": st.text(st.characters(exclude_categories=["Cs"])), "b": st.integers()}), max_size=5))
def test_csv_is_read_back_as_it_was(rows):
    """A reader of CSV gets every character back."""
    read = list(csv.DictReader(io.StringIO(output.csv_text(rows, [Column("b", "B"), Column("a", "A")]), newline="")))
    assert read == [{"b": str(row["b"]), "a": row["a"]} for row in rows]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_json_is_read_back_as_it_was(value):
    """What JSON can say arrives unchanged, escaped characters included."""
    assert json.loads(output.json_text(value)) == value


def test_json_knows_neither_nan_nor_numpy():
    """NaN and infinity become null, NumPy's values become plain ones."""
    given_value = {"a": math.nan, "b": [math.inf, np.float32(0.5), np.int64(3)], "c": np.array([1.0, math.nan]), 4: ("t",)}
    assert json.loads(output.json_text(given_value)) == {"a": None, "b": [None, 0.5, 3], "c": [1.0, None], "4": ["t"]}


def test_json_and_csv_hold_the_same_columns_as_the_table(capsys):
    """A key that is missing is null, and one that is no column is left out."""
    output.emit([{"id": "a", "other": 1}], [Column("id", "ID"), Column("lost", "LOST")], "json")
    assert json.loads(capsys.readouterr().out) == [{"id": "a", "lost": None}]
    output.emit([{"id": "a", "other": 1}], [Column("id", "ID"), Column("lost", "LOST")], "csv")
    assert capsys.readouterr().out == "id,lost\r\na,\r\n"


def test_no_rows_are_an_empty_answer(capsys):
    """Nothing is an empty list, a heading, or no table at all."""
    printed = []
    for output_format in output.FORMATS:
        output.emit([], COLUMNS, output_format)
        printed.append(capsys.readouterr().out)
    assert printed == ["", "[]\n", "id,lost,cause,note\r\n"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0 s"), (12.3, "12.3 s"), (1.06, "1.06 s"), (0.99949, "999 ms"), (0.9999, "1 s"), (0.000_004, "4 µs"), (59.95, "60 s"),
     (119.4, "119 s"), (119.6, "2 min 0 s"), (3599.4, "59 min 59 s"), (3599.9, "1 h 0 min"), (90_061.0, "25 h 1 min"),
     (-12.3, "-12.3 s"), (-312.0, "-5 min 12 s"), (math.nan, "? s"), (math.inf, "inf s")],
)
def test_seconds(value, shown):
    """A duration takes the unit in which it is a small number."""
    assert output.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0 %"), (0.334, "33 %"), (1.0, "100 %"), (0.004, "0.4 %"), (0.0004, "<0.1 %"), (0.0099, "1 %"), (2.5, "250 %"),
     (math.nan, "? %")],
)
def test_share(value, shown):
    """A ratio is shown in percent."""
    assert output.share(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (1_540, "1.54 kB"), (3.2e9, "3.2 GB"),
                                              (1e18, "1000 PB")])
def test_size(value, shown):
    """A size takes the decimal unit in which it is a small number."""
    assert output.size(value) == shown


@given(st.floats(1e-3, 1e12))
def test_three_digits_are_near_the_number(value):
    """No more is lost than three digits can lose, and there is never an exponent."""
    shown = output.three_digits(value)
    assert "e" not in shown
    assert math.isclose(float(shown), value, rel_tol=0.0051)


@click.command()
@output.config_option
@output.store_option
@output.format_option
def ask(config, store, output_format):
    """Print what the shared options gave."""
    click.echo(f"{config.analysis.window_s:g} {store} {output_format}")


@pytest.mark.parametrize(
    ("args", "variable", "file", "printed"),
    [
        ([], None, None, "10 {home}/xdg-data/pinchpoint/lake table"),
        ([], None, "store = 'of_file'", "10 {home}/of_file table"),
        ([], "of_variable", "store = 'of_file'", "10 of_variable table"),
        (["--store", "of_option"], "of_variable", "store = 'of_file'", "10 of_option table"),
        (["--format", "csv"], None, "[analysis]\nwindow_s = 5", "5 {home}/xdg-data/pinchpoint/lake csv"),
    ],
)
def test_the_store_comes_from_the_nearest_place(args, variable, file, printed, tmp_path, monkeypatch):
    """--store comes before $PINCHPOINT_STORE, that before the file, that before the user's lake."""
    monkeypatch.chdir(tmp_path)
    if variable:
        monkeypatch.setenv("PINCHPOINT_STORE", variable)
    if file:
        (tmp_path / "pinchpoint.toml").write_text(file)
    answer = CliRunner().invoke(ask, args, catch_exceptions=False)
    assert answer.output.strip() == printed.format(home=tmp_path)


def test_help_comes_even_with_a_broken_settings_file(tmp_path, monkeypatch):
    """Help never needs the settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pinchpoint.toml").write_text("nonsense")
    assert CliRunner().invoke(ask, ["--help"]).exit_code == 0


def test_progress_is_silent_where_nobody_looks(capsys):
    """Without a terminal nothing is written."""
    with progress("reading", 2, after_s=0) as advance:
        advance(1)
    assert capsys.readouterr().err == ""


def test_progress_shows_where_somebody_looks(monkeypatch):
    """On a terminal the title appears while the work goes on, control characters escaped."""
    screen, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setenv("TERM", "xterm")
        shown = b""
        with progress("read\x07ing", 2, after_s=0) as advance:
            advance(1)
            deadline = time.monotonic() + 20
            while rb"read\x07ing" not in shown and time.monotonic() < deadline:
                if select.select([screen], [], [], 0.1)[0]:
                    shown += os.read(screen, 4096)
        monkeypatch.undo()
    os.close(screen)
    assert rb"read\x07ing" in shown
