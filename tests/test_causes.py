"""The catalogue of causes: files are checked strictly, evidence is weighed as written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.causes import load
from models.causes.catalogue import parse
from models.causes.engine import strength
from models.causes.show import show_cause
from models.facts import FACTS
from pinchpoint.errors import CauseFileError

GOOD = """
[[cause]]
id = "X01"
name = "my_cause"
category = "data"
explains = ["data_wait"]
summary = "something of ours"
why = "{data_wait.share} of the time"
fix = ["mend it"]
source = "measured here"
required = [{ fact = "data_wait.share", above = [0.1, 0.2] }]
"""


def test_the_catalogue_is_complete():
    """Every cause that this version promises is there, with a fix and a source."""
    wanted = {"D02", "D03", "D04", "D06", "D10", "D13", "I01", "I12", "I16", "I17", "I18", "M02", "M07", "M08", "M11", "M12", "P01", "P02",
              "P06"}
    causes = load()

    assert wanted <= {cause.id for cause in causes.values()}
    assert all(cause.fix and cause.source and cause.required for cause in causes.values())


def test_a_file_of_the_user_adds_and_replaces(tmp_path):
    """A cause of the same name takes the place of ours, another one is added."""
    mine = GOOD + GOOD.replace("X01", "D04").replace("my_cause", "single_process_loading")
    (tmp_path / "mine.toml").write_text(mine)
    causes = load([tmp_path])

    assert causes["my_cause"].id == "X01"
    assert causes["single_process_loading"].summary == "something of ours"


@pytest.mark.parametrize(("change", "message"), [
    (("required", "requried"), "did you mean 'required'"),
    (("data_wait.share\", above", "data_wait.shaer\", above"), "did you mean 'data_wait.share'"),
    (('category = "data"', 'category = "date"'), "expected one of data"),
    (("above = [0.1, 0.2]", "above = [0.2, 0.1]"), "the second limit is the stronger one"),
    (("above = [0.1, 0.2]", "above = 3"), "expected two numbers"),
    (("above = [0.1, 0.2]", "over = [0.1, 0.2]"), "unknown key"),
    (("{data_wait.share}", "{data_wait}"), "why: 'data_wait'"),
    (('["data_wait"]', '["data_wiat"]'), "did you mean 'data_wait'"),
    (('fix = ["mend it"]', "fix = []"), "expected a list of texts"),
    (('id = "X01"', 'id = "D02"'), "is taken by another cause"),
    (("[[cause]]", "[[causes]]"), "expected tables [[cause]]"),
    (("[[cause]]", "[[cause"), "not TOML"),
])
def test_a_mistake_is_named_with_its_place(tmp_path, change, message):
    """File, cause, key and what was expected."""
    file = tmp_path / "mine.toml"
    file.write_text(GOOD.replace(*change))

    with pytest.raises(CauseFileError) as error:
        load([file])
    assert message in str(error.value)


def test_no_code_runs_from_a_cause():
    """A why-sentence can only name facts: attributes and calls are refused."""
    with pytest.raises(CauseFileError):
        parse(GOOD.replace("{data_wait.share}", "{data_wait.share.__class__}"), "x")


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_evidence_never_speaks_less(one, other):
    """Strength rises with the value for `above`, falls for `below`, and stays within 0 and 1."""
    low, high = sorted((one, other))

    assert 0 <= strength(low, 0.2, 0.6) <= strength(high, 0.2, 0.6) <= 1
    assert 0 <= strength(high, 0.6, 0.2) <= strength(low, 0.6, 0.2) <= 1


def test_every_fact_says_what_it_is():
    """Each fact has a meaning, a unit and says what it needs."""
    assert all(fact.meaning and fact.unit and fact.needs for fact in FACTS.values())


@pytest.mark.parametrize("cause", load().values(), ids=lambda cause: cause.name)
def test_every_cause_can_be_shown_in_80_columns(cause):
    """No line of a cause is longer than the terminal."""
    assert max(map(len, show_cause(cause, 80))) <= 80
