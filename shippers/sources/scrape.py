"""Read the metrics of an exporter over HTTP, as Prometheus does."""

import ssl
import urllib.parse
from pathlib import Path

import urllib3

from pinchpoint.errors import ConfigError
from shippers.sources.exposition import Page
from shippers.sources.patience import Patience
from shippers.sources.reading import Reading
from shippers.sources.scrape_naming import Naming

MOST_BYTES = 16 << 20
_ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.8"
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104 - compared with, not listened on


class _NoTokenError(Exception):
    """The token cannot be read."""


class ScrapeSource:
    """Readings of all that one exporter shows, and `up`: 1 when it answered with a page, else 0.

    Args:
        url: of the page, such as http://127.0.0.1:9400/metrics.
        host: name of this host, under which exporters on it are known.
        timeout_s: for the whole page.
        token_file: holds a bearer token, read anew each time, since tokens are replaced while the agent runs.
        ca_file: holds the authorities that may have signed the exporter's certificate; None: those this host trusts.
    Raises: ConfigError for a URL that is none, or a file that holds no certificate.
    """

    def __init__(self, url: str, host: str, *, timeout_s: float = 5.0, most_bytes: int = MOST_BYTES, token_file: Path | None = None,
                 ca_file: Path | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"ship.scrape.url: expected a URL such as http://127.0.0.1:9400/metrics, got {url!r}")
        self._url, self._timeout_s, self._most_bytes = url, timeout_s, most_bytes
        name = host if parts.hostname in _LOOPBACK else parts.hostname
        self._instance = f"{name}:{parts.port}" if parts.port else name
        self._machine = name
        # redirects are not followed: the target is what was configured
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False, timeout=urllib3.Timeout(total=timeout_s),
                                         ssl_context=None if ca_file is None else _trusting(ca_file))
        self._token_file = token_file
        self._patience = Patience()
        self.bad_lines = 0
        self.failed = 0
        self.problem = ""
        """Why the last reading failed; empty when it did not."""

    def read(self) -> list[Reading]:
        """One reading of each thing the exporter tells of; the first is of the exporter itself."""
        text, is_openmetrics = self._fetch()
        if text is None:
            self.failed += 1
            return [Reading("service", self._instance, {"up": 0.0})]
        page = Page(text, is_openmetrics=is_openmetrics)
        named = Naming()
        # `up` goes with what has no labels: two readings of one thing at one time would be taken for the same one
        named.put("service", self._instance, "up", 1.0)
        for sample in page:
            named.add(sample, self._instance, self._machine)
        readings = list(named.readings())
        self.bad_lines += page.bad_lines
        if not page.complete:
            self.problem = "a page without its end"
        return readings

    def counters(self) -> dict[str, float]:
        """Lines that were no samples, and readings that failed."""
        return {"scrape.bad_lines": float(self.bad_lines), "scrape.failed": float(self.failed)}

    def close(self) -> None:
        self._pool.clear()

    def _fetch(self) -> tuple[str | None, bool]:
        """The page, and whether it is OpenMetrics; None where there is none, with `problem` saying why."""
        try:
            status, kind, data = self._patience.call(self._request, self._timeout_s)
        except _NoTokenError as error:
            self.problem = str(error)
            return None, False
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self.problem = type(error).__name__  # not its text, which holds the URL and what stands in that
            return None, False
        self.problem = ""
        if status != 200:
            self.problem = f"answered {status}"
        elif len(data) > self._most_bytes:
            self.problem = f"a page of more than {self._most_bytes} bytes"
        return (None, False) if self.problem else (data.decode(errors="replace"), "openmetrics" in kind)

    def _request(self) -> tuple[int, str, bytes]:
        # the time limits of urllib3 hold for each packet, which a slow exporter can send for ever; hence the call with patience
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "gzip"} | self._authorization()
        with self._pool.request("GET", self._url, headers=headers, preload_content=False, redirect=False) as answer:
            data = answer.read(self._most_bytes + 1, decode_content=True) if answer.status == 200 else b""
            return answer.status, answer.headers.get("Content-Type", ""), data

    def _authorization(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text('ascii').strip()}"}
        except (OSError, UnicodeDecodeError) as error:
            raise _NoTokenError(f"cannot read {self._token_file}: {getattr(error, 'strerror', None) or 'no text'}") from error


def _trusting(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"ship.scrape.ca_file: cannot use {ca_file}: {error.strerror or 'no certificate in it'}") from error
