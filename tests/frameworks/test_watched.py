"""`pinchpoint watch` in front of training code that knows nothing of it: from a job to its verdict."""

import json
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from framework_jobs import PREAMBLE, PYTHON

RANKS = """
import os, sys, time
import torch, torch.distributed as dist, torch.multiprocessing as mp
from torch import nn
class Wait(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, seconds):
        ctx.seconds = seconds
        return x.clone()
    @staticmethod
    def backward(ctx, grad):
        time.sleep(ctx.seconds)
        return grad, None
class Net(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.first, self.second, self.seconds = nn.Linear(16, 16), nn.Linear(16, 4), seconds
    def forward(self, x):
        return self.second(Wait.apply(self.first(x), self.seconds))
def main(rank, size, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group("gloo", rank=rank, world_size=size)
    net = nn.parallel.DistributedDataParallel(Net(0.06 if rank == 2 else 0.02))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(120):
        loss = net(torch.randn(8, 16)).square().mean()
        loss.backward()
        optimizer.step()
    dist.destroy_process_group()
if __name__ == "__main__":
    mp.spawn(main, (4, sys.argv[1]), nprocs=4)
"""


def watched(folder: Path, code: str, *words: str, options: tuple[str, ...] = ()) -> tuple[dict[str, Any], str]:
    """The verdict of a job, and what it printed."""
    script, verdict = folder / "train.py", folder / "verdict.json"
    script.write_text(textwrap.dedent(code))
    command = [str(Path(sys.executable).parent / "pinchpoint"), "watch", "--store", str(folder / "lake"), "--verdict", str(verdict),
               *options, "--", str(PYTHON), str(script), *words]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110)
    assert ended.returncode == 0, ended.stderr
    return json.loads(verdict.read_text()), ended.stdout


LOADER = PREAMBLE + """
net, loader = Net(256), DataLoader(Slow(1600, 0.002), batch_size=8)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in loader:
    loss_of(net(x), y).backward()
    optimizer.step()
print("pinchpoint" in sys.modules)
"""


def test_a_slow_loader_is_named(tmp_path: Path) -> None:
    """The verdict is that of a job with the SDK in it: the wait for data, and that the loader runs in the training process."""
    verdict, out = watched(tmp_path, LOADER)

    assert out == "True\n"
    assert (verdict["verdict"], verdict["observed"]["steps"]) == ("slow", 200)
    assert verdict["shares"]["data_wait"] > 0.6
    assert verdict["incidents"][0]["causes"][0]["category"] == "data"


def test_no_instrument_leaves_it_out(tmp_path: Path) -> None:
    """Nothing of ours is in the process, and no steps are known."""
    verdict, out = watched(tmp_path, LOADER.replace("1600", "80"), options=("--no-instrument",))

    assert out == "False\n"
    assert verdict["observed"].get("steps", 0) == 0


def test_the_rank_whose_backward_is_slow_is_named(tmp_path: Path) -> None:
    """All ranks' backward passes take the same time, for the others wait in it; their waits are told apart."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    verdict, _ = watched(tmp_path, RANKS, str(port))
    causes = [cause for incident in verdict["incidents"] for cause in incident["causes"]]

    assert verdict["verdict"] == "slow"
    assert verdict["observed"]["ranks"] == 4
    assert verdict["entities"][0]["entity"] == "rank:2"
    assert causes[0]["entity"]["id"] in ("2", "rank:2"), causes
