"""Images are pinned by digest: read in each form in which a file names them, asked of a registry, and written."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32


@pytest.fixture(scope="module")
def digests() -> ModuleType:
    spec = importlib.util.spec_from_file_location("digests", ROOT / "compose" / "image" / "digests.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["digests"] = module
    spec.loader.exec_module(module)
    return module


class Registry(BaseHTTPRequestHandler):
    """A registry that wants a token first, as the public ones do, and knows one tag."""

    def do_HEAD(self) -> None:
        if self.headers.get("Authorization") != "Bearer let-me-in":
            self.send_response(401)
            host = self.headers["Host"]
            scope = f"repository:{self.path.split('/manifests/')[0].removeprefix('/v2/')}:pull"
            self.send_header("WWW-Authenticate", f'Bearer realm="http://{host}/token",service="stub",scope="{scope}"')
        elif self.path == "/v2/team/engine/manifests/v1" and "oci.image.index" in self.headers["Accept"]:
            self.send_response(200)
            self.send_header("Docker-Content-Digest", DIGEST)
        elif self.path == "/v2/team/odd/manifests/v1":
            self.send_response(200)
        else:
            self.send_response(404)
        self.end_headers()

    def do_GET(self) -> None:
        good = self.path.startswith("/token?service=stub&scope=repository%3Ateam%2F")
        body = json.dumps({"token": "let-me-in" if good else "wrong"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def files(root: Path, host: str, digest: str = "") -> dict[Path, str]:
    """A file of each form that names the image, and the text that it is to have."""
    texts = {
        "compose/compose.yaml": "    image: ${{X_IMAGE:-{host}/team/engine:${{X_TAG:-v1{digest}}}}}\n    ports: []\n",
        "compose/image/Dockerfile": "ARG BASE={host}/team/engine:v1{digest}\nFROM ${{BASE}}\n",
        "compose/engines/x.toml": '[image]\nrepository = "{host}/team/engine"\ntag = "v1{digest}"\n',
        "deploy/kubernetes/x.yaml": "  - image: {host}/team/engine:v1{digest}\n    image: tokenswarm:0.1.0\n",
    }
    expected = {}
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(host=host, digest=digest))
        expected[path] = text.format(host=host, digest=f"@{DIGEST}")
    return expected


@pytest.mark.parametrize("before", ["", f"@{OTHER}", f"@{DIGEST}"])
def test_the_digest_of_a_registry_is_written_behind_the_tag_in_each_file(
    before: str, digests: ModuleType, registry: str, tmp_path: Path
) -> None:
    expected = files(tmp_path, registry, before)
    assert digests.main([], tmp_path, "http") == 0
    assert {path: path.read_text() for path in expected} == expected
    assert digests.main(["--check"], tmp_path, "http") == 0


@pytest.mark.parametrize(("repository", "why"), [("gone", "404"), ("odd", "tells no digest")])
def test_an_image_whose_digest_nobody_tells_stays_as_it_is_and_is_named(
    repository: str, why: str, digests: ModuleType, registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = files(tmp_path, registry)
    path = tmp_path / "compose" / "image" / "Dockerfile"
    text = path.read_text().replace("team/engine", f"team/{repository}")
    path.write_text(text)
    assert digests.main([], tmp_path, "http") == 1
    assert path.read_text() == text
    assert (tmp_path / "compose/compose.yaml").read_text() == expected[tmp_path / "compose/compose.yaml"]
    said = capsys.readouterr().err
    assert f"team/{repository}:v1" in said and why in said


def test_a_registry_that_cannot_be_reached_is_said(
    digests: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files(tmp_path, "127.0.0.1:9")
    assert digests.main([], tmp_path, "http") == 1
    assert "no digest: 127.0.0.1:9/team/engine:v1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("python", ("registry-1.docker.io", "library/python")),
        ("grafana/grafana", ("registry-1.docker.io", "grafana/grafana")),
        ("ghcr.io/ggml-org/llama.cpp", ("ghcr.io", "ggml-org/llama.cpp")),
    ],
)
def test_a_name_is_read_as_docker_reads_it(name: str, place: tuple[str, str], digests: ModuleType) -> None:
    assert digests.registry_of(name) == place


def test_docs_say_what_pins_each_image(digests: ModuleType) -> None:
    named: dict[str, bool] = {}
    for path in (path for pattern in digests.PLACES for path in ROOT.glob(pattern)):
        for image in digests.images(path.read_text("utf-8")):
            named[image.name] = named.get(image.name, True) and bool(image.digest)
    rows = [
        line.split("|")[1:3] for line in (ROOT / "docs" / "docker.md").read_text("utf-8").splitlines() if "| `" in line
    ]
    told = {name: pin.strip() == "digest" for names, pin in rows for name in re.findall("`([^`]+)`", names)}
    assert {name: told.get(name) for name in named} == named
    assert {"python", "prom/prometheus", "grafana/grafana"} <= {name for name in named if named[name]}, "our own"
