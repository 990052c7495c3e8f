"""Settings are complete, checked and refused with their place."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinchpoint import config, fields
from pinchpoint.errors import ConfigError

NUMBERS = [(section, field.name) for section, kind in config.SECTIONS.items() for field in dataclasses.fields(kind)
           if isinstance(getattr(kind(), field.name), float)]


def write(folder: Path, text: str) -> Path:
    """A configuration file with this content."""
    path = folder / config.FILE_NAME
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_complete(tmp_path):
    """Without a file every setting has its value."""
    assert config.load(folder=tmp_path) == config.Config(
        store=None,
        analysis=config.Analysis(window_s=10.0, lateness_s=600.0, min_slowdown=1.2),
        causes=config.Causes(paths=()),
        retention=config.Retention(days=dict.fromkeys(fields.KINDS, 30.0)),
        watch=config.Watch(interval_s=1.0),
        source=None,
    )


def test_a_file_lies_over_the_defaults(tmp_path):
    """What the file says counts, what it does not say keeps its default."""
    path = write(tmp_path, """
store = "s3://bucket/lake"
[analysis]
window_s = 30
[causes]
paths = ["ours.toml", "/etc/causes"]
[retention.days]
metric = 7
""")
    loaded = config.load(path)
    assert loaded.store == "s3://bucket/lake"
    assert loaded.analysis == config.Analysis(window_s=30.0)
    assert loaded.causes.paths == (tmp_path / "ours.toml", Path("/etc/causes"))
    assert loaded.retention.days == {**dict.fromkeys(fields.KINDS, 30.0), "metric": 7.0}
    assert loaded.watch == config.Watch()
    assert loaded.source == path


@pytest.mark.parametrize(("given", "store"), [("lake", "{folder}/lake"), ("/data/lake", "/data/lake"), ("memory:", "memory:"),
                                              ("https://localhost:9200", "https://localhost:9200")])
def test_a_relative_store_starts_at_the_folder_of_the_file(tmp_path, given, store):
    """The same file names the same store from every working directory."""
    path = write(tmp_path, f'store = "{given}"')
    assert config.load(path).store == store.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("window_s = 5", "window_s: unknown setting, there are analysis, causes, elasticsearch, retention, watch, store"),
        ("[analysi]", "analysi: unknown setting, did you mean analysis?"),
        ("[analysis]\nwindow = 5", "analysis.window: unknown setting, did you mean analysis.window_s?"),
        ("[analysis]\nwindow_s = '5s'", "analysis.window_s: expected a number above 0, got '5s'"),
        ("[analysis]\nwindow_s = 0", "analysis.window_s: expected a number above 0, got 0"),
        ("[analysis]\nwindow_s = true", "analysis.window_s: expected a number above 0, got True"),
        ("[analysis]\nwindow_s = nan", "analysis.window_s: expected a number above 0, got nan"),
        ("[analysis]\nwindow_s = inf", "analysis.window_s: expected a number above 0, got inf"),
        ("[analysis]\nmin_slowdown = 1", "analysis.min_slowdown: expected a number above 1, got 1"),
        ("analysis = 5", "analysis: expected a table [analysis], got 5"),
        ("store = 5", "store: expected a path or a URL, got 5"),
        ("store = ''", "store: expected a path or a URL, got ''"),
        ("[causes]\npaths = 'ours.toml'", "causes.paths: expected a list of paths, got 'ours.toml'"),
        ("[causes]\npaths = [5]", "causes.paths: expected a list of paths, got [5]"),
        ("[retention]\ndays = 30", "retention.days: expected a table of kinds of record and days, got 30"),
        ("[retention.days]\nmetrics = 7", "retention.days.metrics: unknown kind of record, did you mean metric?"),
        ("[retention.days]\nmetric = -7", "retention.days.metric: expected a number above 0, got -7"),
        ("source = '/x'", "source: unknown setting, "),
        ("[watch]\ninterval_s = []", "watch.interval_s: expected a number above 0, got []"),
    ],
)
def test_a_bad_value_is_refused_with_its_place(tmp_path, text, says):
    """The message names the setting, what was expected, what was given, and the file."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        config.load(path)
    assert str(refused.value).startswith(says)
    assert str(refused.value).endswith(f"(in {path})")


@pytest.mark.parametrize("content", [b"store = ", b"\xff\xfe", b"a = " + b"[" * 100_000, b"store = 'a'\nstore = 'b'"])
def test_what_is_no_toml_is_refused(tmp_path, content):
    """A file that is not TOML at all is refused by its name."""
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.toml is no TOML file: "):
        config.load(path)


def test_a_file_that_is_named_must_exist(tmp_path):
    """A named file is never replaced by the defaults."""
    with pytest.raises(ConfigError, match="there is no configuration file"):
        config.load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="there is no configuration file"):
        config.load(environ={"PINCHPOINT_CONFIG": str(tmp_path / "absent.toml")})
    with pytest.raises(ConfigError, match="Is a directory"):
        config.load(tmp_path)


def test_the_nearest_file_counts_alone(tmp_path):
    """--config comes before $PINCHPOINT_CONFIG, that before the working directory, that before the user's own."""
    here, user = tmp_path / "here", tmp_path / "xdg-config" / "pinchpoint"
    here.mkdir()
    user.mkdir(parents=True)
    explicit, of_environment = tmp_path / "explicit.toml", {"PINCHPOINT_CONFIG": str(tmp_path / "environment.toml")}
    assert config.find(folder=here) is None
    of_user = write(user, "")
    assert config.find(folder=here) == of_user
    of_here = write(here, "")
    assert config.find(folder=here) == of_here
    assert config.find(environ=of_environment, folder=here) == tmp_path / "environment.toml"
    assert config.find(explicit, of_environment, here) == explicit


def test_settings_do_not_change():
    """Nobody can change a setting after it was checked."""
    loaded = config.Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.analysis.window_s = 5.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        loaded.retention.days["step"] = 1.0  # type: ignore[index]


@pytest.mark.parametrize(("section", "name"), NUMBERS)
@given(st.floats(min_value=1, exclude_min=True, max_value=1e9) | st.integers(2, 10**9))
def test_every_number_above_its_limit_is_taken_as_it_is(section, name, value):
    """A good value arrives unchanged."""
    loaded = config.parse({section: {name: value}}, Path("pinchpoint.toml"))
    assert getattr(getattr(loaded, section), name) == value
