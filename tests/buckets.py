"""A server for ``s3://`` on this machine: a fixture that has the objects of all buckets."""

import http.server
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from fsspec.config import conf


class Buckets(http.server.BaseHTTPRequestHandler):
    """As much of S3 as packing and streaming ask for: objects are written, read and listed, by path."""

    objects: dict[str, bytes]
    # Writers wait until they are told to go on.
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, code: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        words = urllib.parse.parse_qs(query)
        if "list-type" in words:
            found = {n: c for n, c in self.objects.items() if n.startswith(f"{path}/{words.get('prefix', [''])[0]}")}
            rows = [
                f"<Contents><Key>{name[len(path) + 1 :]}</Key><Size>{len(content)}</Size><ETag>x</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for name, content in found.items()
            ]
            text = f"<ListBucketResult><KeyCount>{len(rows)}</KeyCount>{''.join(rows)}</ListBucketResult>"
            self.answer(200, text.encode(), Content_Type="application/xml")
        elif path in self.objects:
            self.answer(200, self.objects[path], ETag="x", Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT")
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.objects[self.path.partition("?")[0]] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, ETag="x")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """The objects of an S3 server that ``s3://`` leads to, here and in processes that are started."""
    pytest.importorskip("s3fs")
    handler = type("Here", (Buckets,), {"objects": {}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = {"endpoint_url": f"http://127.0.0.1:{server.server_address[1]}", "key": "k", "secret": "s"}
        # fsspec reads these when it is imported, which has happened here.
        for name, value in place.items():
            monkeypatch.setenv(f"FSSPEC_S3_{name.upper()}", value)
        monkeypatch.setitem(conf, "s3", place)
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        try:
            yield handler.objects
        finally:
            server.shutdown()
