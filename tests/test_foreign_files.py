"""Mapping files are read whole and checked, each mistake with its place."""

import math
import tomllib
from pathlib import Path

import pytest

from pinchpoint.errors import MappingFileError
from pinchpoint.metrics import METRICS, RATE
from pinchpoint.store.es import foreign_files
from pinchpoint.store.es.export import Hit
from pinchpoint.store.es.foreign_decoding import decode
from pinchpoint.store.es.foreign_files import load

STEP = '[[entry]]\nname = "x"\nkind = "step"\nwhen.exists = "took"\n'
METRIC = '[[entry]]\nname = "x"\nkind = "metric"\nwhen.exists = "took"\n'


@pytest.fixture
def written(tmp_path: Path):
    """Write a mapping file; returns its path."""

    def write(text: str) -> str:
        path = tmp_path / f"{abs(hash(text))}.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(("text", "said"), [
    ("entries = []", "entries: unknown key, did you mean 'entry'?"),
    ("[[entry]]\nkind = 'log'", "entry 1.name: expected a text, got None"),
    ("[[entry]]\nname = 'x'\nkind = 'logs'", "entry 1 (x).kind: 'logs', did you mean 'log'?"),
    ("[[entry]]\nname = 'x'\nkind = 'feature'", "entry 1 (x).kind: 'feature', expected one of step, metric, log, span, event"),
    (STEP + "wehn = 1", "entry 1 (x).wehn: unknown key, did you mean 'when'?"),
    (STEP, "entry 1 (x).fields: a step record needs duration_s: say which field holds it"),
    (STEP + "fields.duraton_s = 'took'", "entry 1 (x).fields.duraton_s: unknown field, did you mean 'duration_s'?"),
    (STEP + "fields.duration_s = 3", "entry 1 (x).fields.duration_s: expected the name of a field or a list of names, got 3"),
    (STEP + "fields.duration_s = []", "entry 1 (x).fields.duration_s: expected the name of a field, got []"),
    (STEP + "fields.duration_s = {field = 'took', scale = '0.001'}", "fields.duration_s.scale: expected a number above 0, got '0.001'"),
    (STEP + "fields.duration_s = {field = 'took', sum = ['a']}", "entry 1 (x).fields.duration_s: expected either field or sum"),
    (STEP + "fields.duration_s = {feild = 'took'}", "entry 1 (x).fields.duration_s.feild: unknown key, did you mean 'field'?"),
    (STEP + "fields.'run.id' = {field = 'a', scale = 2}\nfields.duration_s = 'took'", "entry 1 (x).fields.run.id: a text has no scale"),
    (STEP + "fields.'event.id' = 'a'\nfields.duration_s = 'took'", "entry 1 (x).fields.event.id: unknown field"),
    (STEP + "fields.'labels.*' = 'a'\nfields.duration_s = 'took'", "entry 1 (x).fields.labels.*: an object is copied whole"),
    (STEP + "fields.'@timestamp' = ['a', 'b']", "entry 1 (x).fields.@timestamp: expected the name of one date field"),
    (STEP + "fields.duration_s = 'took'\nconstants.world_size = '8'", "entry 1 (x).constants.world_size: expected integer, got '8'"),
    (STEP + "fields.duration_s = 'took'\nconstants.duration_s = 8", "entry 1 (x).constants.duration_s: it has a field already"),
    (STEP + "metrics.a = 'b'\nfields.duration_s = 'took'", "entry 1 (x).metrics: only entries of kind metric have it"),
    (STEP.replace("when.exists = \"took\"", "when = {}") + "fields.duration_s = 'took'", "(x).when: say which documents are meant"),
    (STEP.replace("when.exists", "when.exist") + "fields.duration_s = 'took'", "(x).when.exist: unknown key, did you mean 'exists'"),
    (METRIC, "entry 1 (x).metrics: a metric record needs readings"),
    (METRIC + "metrics.a = 'b'", "entry 1 (x).entity: expected a table, got None"),
    (METRIC + "metrics.a = 'b'\nentity.kind = 'host'", "entry 1 (x).entity.id: expected the field"),
    (METRIC + "metrics.a = 'b'\nentity = {kind = 'host', id = 'h', ids = 1}", "entry 1 (x).entity.ids: unknown key, did you mean 'id'?"),
    ("[fields]\n'run.ids' = 'a'", "fields.run.ids: unknown field, did you mean 'run.id'?"),
    ("entry = 3", "entry: expected tables [[entry]]"),
    ("entry", "not TOML"),
])
def test_a_mistake_is_named_with_its_place(written, text, said):
    """File, entry and key, what was expected, and the nearest name."""
    path = written(text)
    with pytest.raises(MappingFileError) as error:
        load(path)
    assert str(error.value).startswith(path)
    assert said in str(error.value)


def test_what_comes_with_pinchpoint_is_faithful():
    """Readings under our names have entities of their kind; a rate is that of a counter."""
    entities = {name: metric.entity for name, metric in METRICS.items()}
    wrong = [(entry.name, name) for entry in load().all for name in entry.metrics
             if entities.get(name.removesuffix(RATE), entry.entity_kind) != entry.entity_kind]
    rates = [name.removesuffix(RATE) for entry in load().all for name in entry.metrics if name.endswith(RATE)]

    assert wrong == []
    assert {METRICS[name].kind for name in rates} == {"counter"}


def test_every_file_with_pinchpoint_names_each_entry_once():
    """So that what is set aside can be found by the name of its entry."""
    names = [entry.name for entry in load().all]
    assert len(names) == len(set(names))


def documents(*found: str) -> list[Hit]:
    """Hits with these `fields`."""
    import msgspec

    return [Hit(fields=msgspec.Raw(text.encode()), id=str(number), index="i") for number, text in enumerate(found)]


def test_hostile_documents_harm_nobody():
    """Whatever `fields` may hold, each document becomes a record or a reason."""
    entries = load()
    good = '{"@timestamp":["2026-01-01T00:00:00Z"],"message":["a"]}'
    table, wrong = decode(entries, "log", ["@timestamp", "message", "rank", "log.level", "event.id"], documents(
        good, '{"@timestamp":["2026-01-01T00:00:00Z"],"message":[{"a":1}]}', '{"@timestamp":["soon"],"message":["b"]}',
        '{"message":["c"]}', '{"@timestamp":["2026-01-01T00:00:00Z"],"message":["\\ud800"]}',
        '{"@timestamp":["2026-01-01T00:00:00Z"],"message":["d"],"rank":[1e400]}', "{", '{"message":"no list"}',
        '{"@timestamp":["2026-01-01T00:00:00Z"],"message":["e"],"rank":[99999999999999999999999]}', good.replace('"a"', "7")))

    assert table.column("message").to_pylist() == ["a", "7"]
    assert table.column("event.id").to_pylist() == ["i/0", "i/9"]
    assert sorted(one.id for one in wrong) == [str(number) for number in range(1, 9)]


def test_readings_that_are_no_numbers():
    """Objects and texts under a prefix are no readings; where a mapping names the field they are a reason."""
    entries = load()
    start = '{"@timestamp":["2026-01-01T00:00:00Z"],"host.name":["h"],'
    table, wrong = decode(entries, "metric", ["@timestamp", "metrics"], documents(
        start + '"prometheus.metrics.a":[1],"prometheus.metrics.b":[{"counts":[1]}],"prometheus.metrics.c":["x"],'
        '"prometheus.labels.j":["k"]}',
        start + '"system.load.1":["high"]}', start + '"system.load.1":["2.5"]}', start + '"system.cpu.cores":[true]}'))

    assert [dict(one) for one in table.column("metrics").to_pylist()] == [{"a": 1.0}, {"system.load.1m": 2.5}, {"system.cpu.count": 1.0}]
    assert [one.reason for one in wrong] == ["no metric record (Metricbeat system.load): system.load.1m: expected a number"]
    assert not any(math.isnan(value) for one in table.column("metrics").to_pylist() for _, value in one)


def test_the_example_of_the_page_is_a_mapping(written):
    """What docs/elasticsearch-others.md shows can be used as it stands."""
    page = (Path(__file__).parent.parent / "docs" / "elasticsearch-others.md").read_text("utf-8")
    text = page.partition("```toml\n")[2].partition("```")[0]
    entries = load(written(text))
    table, wrong = decode(entries, "step", ["@timestamp", "run.id", "step", "duration_s", "phase.data_wait_s", "run.workload"], documents(
        '{"event.start":["2026-01-01T00:00:00Z"],"slurm.job_id":["4711"],"train.iteration":[3],"train.step_ms":[410],"train.loader_ms":[90],'
        '"train.stage":["fit"]}'))

    assert tomllib.loads(text)["entry"]
    assert wrong == []
    [row] = table.to_pylist()
    assert row.pop("@timestamp").value == 1_767_225_600 * 10**9
    assert row == {"run.id": "4711", "step": 3, "duration_s": pytest.approx(0.41), "phase.data_wait_s": pytest.approx(0.09),
                   "run.workload": "our-model"}


def test_files_are_read_once(written):
    """A worker opens the store anew for each slice and reads no file again."""
    path = written("[fields]\n'run.id' = 'a'")
    assert foreign_files.load(path) is foreign_files.load(path)
