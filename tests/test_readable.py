"""Waiting for something to read works for descriptors of any number."""

import os
import resource

import pytest

from shippers.readable import is_readable


@pytest.fixture
def far(request):
    """The reading end of a pipe under a number that `select` cannot know, and the writing end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    read, write = os.pipe()
    number = os.dup2(read, 2000)
    yield number, write
    for one in (read, number):
        os.close(one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_descriptor_above_1023(far):
    """Nothing yet, then something, then the end, which is readable too."""
    number, write = far
    before = is_readable(number, 0.0)
    os.write(write, b"x")
    during = is_readable(number, 5.0)
    os.read(number, 1)
    os.close(write)

    assert (before, during, is_readable(number, 5.0)) == (False, True, True)
