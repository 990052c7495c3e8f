"""Ports of InfiniBand and RoCE cards, and how often the link of a card went down, out of files as the kernel writes them."""

from pathlib import Path

from pinchpoint.metrics import METRICS
from shippers.sources.infiniband import InfinibandSource
from shippers.sources.network import NetworkSource
from shippers.sources.reading import Reading

PORT = {"state": "4: ACTIVE", "rate": "400 Gb/sec (4X NDR)", "counters/port_xmit_data": "1000", "counters/port_rcv_data": "500",
        "counters/link_downed": "2", "counters/symbol_error": "1", "counters/port_rcv_errors": "4",
        "counters/local_link_integrity_errors": "0", "counters/port_xmit_wait": "77", "hw_counters/np_cnp_sent": "9"}


def port(root: Path, device: str = "mlx5_0", **changed: str) -> Path:
    """A tree with one port of a device."""
    folder = root / "sys/class/infiniband" / device / "ports/1"
    for name, text in {**PORT, **changed}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    return folder


def test_a_port_is_read_in_bytes(tmp_path: Path) -> None:
    """Words become bytes, gigabits bytes a second, three kinds of errors one number; every metric is in the table."""
    port(tmp_path)
    readings = InfinibandSource("h", root=tmp_path).read()

    assert readings == [Reading("rdma", "h/mlx5_0:1", {
        "rdma.transmit_bytes": 4000.0, "rdma.receive_bytes": 2000.0, "rdma.link_downs": 2.0, "rdma.transmit_wait": 77.0,
        "rdma.errors": 5.0, "rdma.congestion_packets": 9.0, "rdma.speed_bytes_per_s": 50e9})]
    assert all(METRICS[name].entity == "rdma" for name in readings[0].metrics)


def test_each_fifth_time_is_enough(tmp_path: Path) -> None:
    """The firmware of the card answers for each counter: four readings of five ask nothing."""
    port(tmp_path)
    source = InfinibandSource("h", root=tmp_path)

    assert [len(source.read()) for _ in range(11)] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_without_a_card_there_is_nothing(tmp_path: Path) -> None:
    """No card and a port that was never up are normal, and say nothing."""
    assert InfinibandSource("h", root=tmp_path).read() == []
    port(tmp_path, state="1: DOWN")
    assert InfinibandSource("h", root=tmp_path).read() == []


def test_a_port_that_went_down_is_still_read(tmp_path: Path) -> None:
    """What it counts goes on; a speed it has no more."""
    folder = port(tmp_path)
    source = InfinibandSource("h", root=tmp_path)
    source.read()
    (folder / "state").write_text("1: DOWN\n")
    (folder / "counters/link_downed").write_text("3\n")
    later = [reading for _ in range(60) for reading in source.read()]

    assert len(later) == 12
    assert later[-1].metrics["rdma.link_downs"] == 3.0
    assert "rdma.speed_bytes_per_s" not in later[-1].metrics


def test_what_a_driver_does_not_count_is_absent(tmp_path: Path) -> None:
    """A card without hardware counters, a counter that is no number: left out, not zero."""
    folder = port(tmp_path, **{"counters/port_xmit_wait": "N/A (no PMA)"})
    (folder / "hw_counters/np_cnp_sent").unlink()
    [reading] = InfinibandSource("h", root=tmp_path).read()

    assert "rdma.congestion_packets" not in reading.metrics
    assert "rdma.transmit_wait" not in reading.metrics


def test_how_often_the_link_of_a_card_went_down(tmp_path: Path) -> None:
    """The kernel counts it for each card."""
    counters = "head|\n eth0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
    for name, text in {"proc/net/dev": counters, "sys/class/net/eth0/carrier_down_count": "4\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert NetworkSource("h", root=tmp_path).read()[0].metrics["nic.link_downs"] == 4.0
