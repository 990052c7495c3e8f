"""The tree of errors is what its docstring draws, and survives the way between processes."""

import pickle
import re

import pytest

from pinchpoint import errors


def tree(root):
    """An error and all errors below it."""
    return [root, *(below for child in root.__subclasses__() if child.__module__ == errors.__name__ for below in tree(child))]


@pytest.mark.parametrize("error", tree(errors.PinchpointError), ids=lambda error: error.__name__)
def test_an_error_survives_pickling(error):
    """A worker's error arrives with its message and its exit status."""
    again = pickle.loads(pickle.dumps(error("what, where, next step")))
    assert type(again) is error
    assert str(again) == "what, where, next step"
    assert again.exit_status == error.exit_status


def test_the_drawn_tree_is_the_tree():
    """Every error stands in the docstring, in the order of the tree."""
    drawn = re.findall(r"[─ ] ?([A-Z]\w+(?:Error|Format|NotFound|Unreachable|Refused|Timeout)) ", errors.__doc__ or "")
    assert drawn == [error.__name__ for error in tree(errors.PinchpointError)]


@pytest.mark.parametrize("error", tree(errors.PinchpointError), ids=lambda error: error.__name__)
def test_wrong_usage_exits_with_2_and_failure_with_1(error):
    """The exit status follows from the place in the tree."""
    assert error.exit_status == (2 if issubclass(error, errors.UsageError) else 1)
