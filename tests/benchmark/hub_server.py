"""As much of the Hugging Face hub as its client needs to make a repository, send files and take them again.

    with HubServer() as hub:
        hub.url, hub.files("me/net")

A stand-in on this machine, which keeps what it is sent in memory; a helper of tests.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40
TOKEN = "hf_stand_in"


class HubServer:
    def __init__(self):
        self.repositories = {}
        self.private = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def files(self, name):
        """What a repository holds, by path."""
        return self.repositories[name]

    def answer(self, method, path, body, token):
        """Status, headers and content of an answer; content that is no bytes is JSON."""
        if method == "POST" and token != f"Bearer {TOKEN}":
            return 401, {}, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            if name in self.repositories:
                return 409, {}, {"error": "You already created this model repo", "url": f"{self.url}/{name}"}
            self.repositories[name] = {}
            self.private[name] = bool(asked.get("private") or asked.get("visibility") == "private")
            return 200, {}, {"url": f"{self.url}/{name}"}
        if path == "/api/validate-yaml":
            return 200, {}, {"errors": [], "warnings": []}
        if path.startswith("/api/models/"):
            owner, net, *rest = path.removeprefix("/api/models/").split("/")
            return self._of_model(f"{owner}/{net}", rest[0] if rest else "", body)
        name, _, file = path.lstrip("/").partition("/resolve/")
        content = self.repositories.get(name, {}).get(file.partition("/")[2])
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        etag = hashlib.sha1(content).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, content

    def _of_model(self, name, what, body):
        files = self.repositories.get(name)
        if files is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}
        if what == "preupload":
            asked = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in asked]
            return 200, {}, {"files": modes}
        if what == "commit":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return 200, {}, {"commitUrl": f"{self.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT}
        if what == "tree":
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ]
            return 200, {}, entries
        siblings = [{"rfilename": path} for path in files]
        return 200, {}, {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}

    def _handler(hub):
        class Handler(BaseHTTPRequestHandler):
            def _answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = unquote(urlsplit(self.path).path)
                status, headers, content = hub.answer(
                    self.command, path, body, self.headers.get("Authorization")
                )
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for key, value in {**headers, "Content-Length": len(content)}.items():
                    self.send_header(key, str(value))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_HEAD = _answer

            def log_message(self, *_):
                """Say nothing."""

        return Handler
