"""A small server that answers as Kibana's documentation says: status, bulk get, and imports into spaces."""

import base64
import email
import email.policy
import http.server
import json
import ssl
import threading
from pathlib import Path
from typing import Any


class KibanaLike:
    """One server on loopback; what is imported is kept by space, kind and id."""

    def __init__(self, version: str = "9.2.0", base: str = "", user: tuple[str, str] | None = None, key: str | None = None,
                 spaces: tuple[str, ...] = ("default",), certificate: tuple[Path, Path] | None = None) -> None:
        self.version, self.base, self.spaces = version, base, spaces
        self.wanted = [f"ApiKey {key}"] if key else []
        if user:
            self.wanted.append("Basic " + base64.b64encode(":".join(user).encode()).decode())
        self.kept: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.errors: dict[str, dict[str, Any]] = {}
        """What is wrong with an object, by its id."""
        self.forbidden = False
        self.asked: list[tuple[str, str]] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}{base}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.answer(*outer._answer("GET", self.path, dict(self.headers), b""))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.answer(*outer._answer("POST", self.path, dict(self.headers), body))

            def answer(self, status: int, about: Any) -> None:
                body = json.dumps(about).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.asked.append((method, path))
        if not path.startswith(self.base):
            return 404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"}
        path = path.removeprefix(self.base)
        space = "default"
        if path.startswith("/s/"):
            _, _, space, rest = path.split("/", 3)
            path = f"/{rest}"
        if space not in self.spaces:
            return 404, {"statusCode": 404, "error": "Not Found", "message": f"Space [{space}] not found"}
        if self.wanted and headers.get("Authorization") not in self.wanted:
            return 401, {"statusCode": 401, "error": "Unauthorized", "message": "missing authentication credentials"}
        if path == "/api/status":
            return 200, {"name": "kibana", "version": {"number": self.version, "build_flavor": "traditional"},
                         "status": {"overall": {"level": "available"}}}
        if method == "POST" and "kbn-xsrf" not in headers:
            return 400, {"statusCode": 400, "error": "Bad Request", "message": "Request must contain a kbn-xsrf header."}
        if self.forbidden:
            return 403, {"statusCode": 403, "error": "Forbidden", "message": "Unable to bulk_create dashboard,index-pattern"}
        if path == "/api/saved_objects/_bulk_get":
            return 200, {"saved_objects": [
                {**one} if (space, one["type"], one["id"]) in self.kept else {**one, "error": {"statusCode": 404, "error": "Not Found"}}
                for one in json.loads(body)]}
        if path == "/api/saved_objects/_import?overwrite=true":
            return self._import(space, headers, body)
        return 404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"}

    def _import(self, space: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        whole = b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body
        [part] = email.message_from_bytes(whole, policy=email.policy.HTTP).iter_parts()
        name = part.get_filename() or ""
        if part.get_param("name", header="Content-Disposition") != "file" or not name.endswith(".ndjson"):
            return 400, {"statusCode": 400, "error": "Bad Request", "message": "Invalid file extension"}
        found = [json.loads(line) for line in part.get_payload(decode=True).splitlines()]
        done, failed = [], []
        for one in found:
            if one["id"] in self.errors:
                failed.append({"id": one["id"], "type": one["type"], "meta": {}, "error": self.errors[one["id"]]})
                continue
            key = (space, one["type"], one["id"])
            done.append({"id": one["id"], "type": one["type"], "meta": {}, **({"overwrite": True} if key in self.kept else {})})
            self.kept[key] = one
        answer: dict[str, Any] = {"success": not failed, "successCount": len(done), "warnings": [], "successResults": done}
        return 200, answer | ({"errors": failed} if failed else {})
