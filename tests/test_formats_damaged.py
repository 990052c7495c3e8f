"""Whatever is in a file that looks like one of these formats, reading it ends in records or in an error of ours."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_formats_ebpf_trace import FORK, OFF, READ, database, training
from test_formats_jax_trace import CPU, GPU, STEPS, as_json, as_xplane
from test_formats_operation_table import table
from test_formats_pipeline_timeline import timeline
from test_formats_tensorboard import REAL

from pinchpoint.errors import PinchpointError
from shippers.formats import open_input

EVENTS = [*STEPS, (GPU, "XLA Ops", "all-reduce.1", 100.0, 300.0, {}), (GPU, "Steps", "0", 0.0, 900.0, {}),
          (CPU, "x", "fusion", 1.0, 2.0, {"hlo_op": "fusion"})]
#: What is put into a file: bytes that end strings, lists and numbers, and numbers that are too large.
PIECES = (b"\xff" * 8, b"\0" * 8, b"1e999", b"-1", b"99999999999999999999", b"NaN", b"null", b'{"', b"[", b"\n", b'"x"', b"1e300", b"")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small whole file of each format."""
    folder = tmp_path_factory.mktemp("whole")
    content = table(lambda dp, stage: 0.2, steps=2)
    trace = database(folder / "trace.db", [(0, 100, FORK, 0, 0), *training(0, 500), (1, 100, READ, 1, 8), (900, 100, OFF, 3, 0)],
                     [(201, 0.1)], [10.0, 20.0])
    return {
        "jax_trace": gzip.decompress(as_json(folder / "trace.json", EVENTS).read_bytes()),
        "jax_xplane": as_xplane(folder / "xplane.pb", EVENTS).read_bytes(),
        "pipeline_timeline": gzip.decompress(timeline(folder / "timeline.json", content).read_bytes())[:50_000],
        "ebpf_trace": trace.read_bytes(), "tensorboard": REAL,
        "mlflow": b"".join(b"%d 1.0 %d\n" % (1_700_000_000_000 + n, n) for n in range(20)),
        "lightning_csv": b"epoch,step,train/step_time,loss\n" + b"".join(b"0,%d,0.5,2.0\n" % n for n in range(20)),
        "golden_values": json.dumps({"iteration-time": {"start_step": 1, "values": {str(n): 0.5 for n in range(20)}}}).encode(),
    }


@pytest.mark.parametrize("reader", ["jax_trace", "jax_xplane", "pipeline_timeline", "ebpf_trace", "tensorboard", "mlflow", "lightning_csv",
                                    "golden_values"])
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_ends_in_records_or_an_error(whole, tmp_path, reader, data):
    """Bytes that are changed, put in or cut out, anywhere."""
    content = bytearray(whole[reader])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content)))
        content[at:at + data.draw(st.integers(0, 40))] = data.draw(st.sampled_from(PIECES))
    path = tmp_path / "damaged"
    path.write_bytes(bytes(content))
    try:
        for _, batch in open_input(path, reader):
            batch.validate(full=True)
    except PinchpointError:
        pass
