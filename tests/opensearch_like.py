"""A stand-in with the face of OpenSearch, by which a client tells it from Elasticsearch."""

import http.server
import json
import threading
from typing import Any

ABOUT = {"name": "n1", "cluster_name": "opensearch", "cluster_uuid": "Zm9yIHRlc3RzIG9ubHkgbm8", "version": {
    "distribution": "opensearch", "number": "2.19.1", "build_type": "tar", "build_snapshot": False, "lucene_version": "9.12.1",
    "minimum_wire_compatibility_version": "7.10.0", "minimum_index_compatibility_version": "7.0.0"},
    "tagline": "The OpenSearch Project: https://opensearch.org/"}


class OpenSearchLike:
    """A small HTTP server on loopback that is no OpenSearch: it stores nothing and runs none of its code.

    It answers `GET /` in the form of OpenSearch 2, without the X-Elastic-Product header that Elasticsearch sends with everything; refuses
    bodies of the media type of Elasticsearch's client with 406; and to everything else says, as OpenSearch does of addresses it does not
    know, that there is no handler. It proves that we recognise and name such a server, not how a real one would go on.
    """

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content_type = self.headers.get("Content-Type", "")
        if "vnd.elasticsearch" in content_type:
            self._send(406, {"error": f"Content-Type header [{content_type}] is not supported", "status": 406})
        elif self.path.partition("?")[0] == "/" and self.command in ("GET", "HEAD"):
            self._send(200, ABOUT)
        else:
            self._send(400, {"error": f"no handler found for uri [{self.path}] and method [{self.command}]"})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing: pytest shows what tests print."""
