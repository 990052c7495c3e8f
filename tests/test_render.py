"""A verdict as text: it fits the terminal, and nothing hostile reaches it."""

import re

import numpy as np
import pytest
from runs import host, run_view

from models import verdict
from models.causes import load
from models.render import render_verdict


def answer():
    own = 0.05 + 0.001 * np.sin(np.arange(400))
    view = run_view(own, data_wait=np.full(400, 0.03), data_wait_cpu_s=np.full(400, 0.029), metrics=host(30))
    return verdict.whole([verdict.explain(view, load())], [{"path": "run.ndjson", "reader": "records", "records": 400, "rejected": 2,
                                                            "notes": ["truncated after 400 records"]}])


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_terminal(width):
    """Also on a narrow one."""
    assert max(map(len, render_verdict(answer(), width=width).splitlines())) <= width


def test_it_says_what_counts_in_this_order():
    """Verdict, why, what to do, what it saves, evidence, what was ruled out, what could not be read."""
    text = render_verdict(answer())
    places = [text.index(word) for word in ("SLOW", "single_process_loading", "why", "do  ", "saves", "evidence", "note")]

    assert places == sorted(places)
    assert "2 records could not be read; --rejected FILE" in text


def test_colours_only_where_asked_for():
    """Without colour there is no escape sequence, with colour the text is the same."""
    plain, painted = render_verdict(answer()), render_verdict(answer(), color=True)

    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain


def test_hostile_text_does_not_reach_the_terminal():
    """Escape sequences in what was read are shown, not acted upon."""
    one = answer()
    one["summary"] = "\x1b]0;owned\x07"
    one["incidents"][0]["causes"][0]["why"].append("\x1b[2J")

    assert "\x1b" not in render_verdict(one)


def test_without_any_step_it_says_what_to_do():
    """Not enough data is an answer with a next step."""
    text = render_verdict(verdict.whole([], []))

    assert text.startswith("NOT ENOUGH DATA")
