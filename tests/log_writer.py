"""Write numbered JSON lines at a rate into a log that is rotated: log_writer.py PATH LINES PER_SECOND EVERY_S create|copytruncate."""

import shutil
import sys
import time
from pathlib import Path

KEPT = 50


def rotate(path: Path, how: str) -> None:
    for number in range(KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.rename(path.with_name(f"{path.name}.{number + 1}"))
    if how == "create":
        path.rename(path.with_name(f"{path.name}.1"))
        path.touch()
    else:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        with path.open("r+b") as file:
            file.truncate(0)


def main() -> None:
    path, lines, per_second, every_s, how = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
    begun = rotated = time.monotonic()
    file = path.open("ab", buffering=0)
    written = 0
    while written < lines:
        wanted = min(lines, int((time.monotonic() - begun) * per_second) + 1)
        block = b"".join(b'{"@timestamp":"2026-01-01T00:%02d:%02d.%03dZ","log.level":"info","message":"step %d of the run","rank":%d}\n' % (
            number // 60_000 % 60, number // 1000 % 60, number % 1000, number, number) for number in range(written, wanted))
        # half a line now and then, as programs that flush do
        file.write(block[:-17])
        file.write(block[-17:])
        written = wanted
        if time.monotonic() - rotated > every_s:
            rotate(path, how)
            file.close()
            file = path.open("ab", buffering=0)
            rotated = time.monotonic()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
