"""Pins the images of the project by digest, so that a tag that is moved changes nothing.

`python3 compose/image/digests.py` (make digests) asks the registry of each image that compose/ and deploy/ name for the
digest of its tag, and writes it behind the tag: `NAME:TAG@sha256:...`. Where a digest stands already it asks again, so
that a tag that was rebuilt is told of. With `--check` it asks and writes nothing, and lists images without a digest.
Needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("compose/compose.yaml", "compose/image/Dockerfile", "compose/engines/*.toml", "deploy/kubernetes/*.yaml")
OWN = ("tokenswarm",)
"""Repositories that are built here and lie in no registry."""

_DIGEST = r"(?P<digest>@sha256:[0-9a-f]{64})?"
_TAG = r"(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]*)"
_NAME = r"(?P<name>[a-z0-9][a-z0-9.-]*(?::[0-9]+/)?[a-z0-9._/-]*[a-z0-9])"
_FORMS = (
    re.compile(rf"\$\{{[A-Z]+_IMAGE:-{_NAME}:\$\{{[A-Z]+_TAG:-{_TAG}{_DIGEST}\}}\}}"),  # Compose, with both variables
    re.compile(rf"^(?:ARG BASE=|\s*(?:- )?image: ){_NAME}:{_TAG}{_DIGEST}\s*$", re.MULTILINE),
    re.compile(rf'^repository = "{_NAME}"\ntag = "{_TAG}{_DIGEST}"', re.MULTILINE),
)
_KINDS = ", ".join(
    f"application/vnd.{kind}"
    for kind in (
        "oci.image.index.v1+json",
        "docker.distribution.manifest.list.v2+json",
        "oci.image.manifest.v1+json",
        "docker.distribution.manifest.v2+json",
    )
)
"""The list over all platforms first: its digest is good on each."""
_DOCKER_HUB = "registry-1.docker.io"
_TIMEOUT_S = 30.0


class Unresolved(Exception):
    """A registry did not tell the digest; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image as a file names it. `place`: where its tag ends in the text, and its digest begins."""

    name: str
    tag: str
    digest: str
    place: tuple[int, int]


def images(text: str) -> list[Image]:
    """The images that a file names by name and tag, in order."""
    found = [
        Image(match["name"], match["tag"], (match["digest"] or "").removeprefix("@"), (match.end("tag"), end))
        for form in _FORMS
        for match in form.finditer(text)
        for end in [match.end("digest") if match["digest"] else match.end("tag")]
    ]
    return sorted((each for each in found if each.name not in OWN), key=lambda each: each.place)


def registry_of(name: str) -> tuple[str, str]:
    """(host, repository there) of an image's name, as Docker reads it."""
    first, _, rest = name.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return _DOCKER_HUB, name if rest else f"library/{name}"


def resolve(name: str, tag: str, scheme: str = "https") -> str:
    """The digest of a tag, as its registry tells it. Raises Unresolved."""
    host, repository = registry_of(name)
    url = f"{scheme}://{host}/v2/{repository}/manifests/{tag}"
    try:
        answer = _head(url, None)
        if answer is None or isinstance(answer, str):
            answer = _head(url, _token(answer or ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unresolved(f"{name}:{tag}: {error}") from None
    digest = "" if answer is None or isinstance(answer, str) else answer.get("Docker-Content-Digest", "")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Unresolved(f"{name}:{tag}: {host} tells no digest")
    return digest


def _head(url: str, token: str | None) -> dict[str, str] | str | None:
    """The headers of the answer; of a refusal, what it wants to see first."""
    headers = {"Accept": _KINDS} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, method="HEAD", headers=headers), timeout=_TIMEOUT_S
        ) as answer:
            return {name: answer.headers[name] for name in ("Docker-Content-Digest",) if answer.headers[name]}
    except urllib.error.HTTPError as error:
        if error.code != 401 or token:
            raise
        return error.headers.get("WWW-Authenticate") or ""


def _token(challenge: str) -> str:
    """A token for whoever asks: public images are read without an account."""
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urllib.parse.urlencode({key: wanted[key] for key in ("service", "scope") if key in wanted})
    with urllib.request.urlopen(f"{wanted['realm']}?{query}", timeout=_TIMEOUT_S) as answer:
        document = json.loads(answer.read(1 << 20))
    return str(document.get("token") or document["access_token"])


def main(arguments: list[str], root: Path = ROOT, scheme: str = "https") -> int:
    """Exit code 0 where each image has a digest at the end, else 1."""
    parser = argparse.ArgumentParser(prog="make digests", description="Pin the images by digest.")
    parser.add_argument("--check", action="store_true", help="write nothing; list what has no digest")
    check = parser.parse_args(arguments).check
    known: dict[tuple[str, str], str] = {}
    open_ones: set[str] = set()

    def digest_of(name: str, tag: str) -> str:
        if (name, tag) not in known:
            known[name, tag] = resolve(name, tag, scheme)
        return known[name, tag]

    for path in sorted(file for pattern in PLACES for file in root.glob(pattern)):
        text = path.read_text("utf-8")
        for each in images(text):
            if check:
                open_ones |= set() if each.digest else {f"{each.name}:{each.tag}"}
                continue
            try:
                digest = digest_of(each.name, each.tag)
            except Unresolved as error:
                open_ones.add(str(error))
                continue
            if each.digest != digest:
                print(f"{path.relative_to(root)}: {each.name}:{each.tag}@{digest}")
        if not check:
            path.write_text(pinned(text, known), "utf-8")
    for sentence in sorted(open_ones):
        print(f"no digest: {sentence}", file=sys.stderr)
    return 1 if open_ones else 0


def pinned(text: str, known: dict[tuple[str, str], str]) -> str:
    """The text with the digests that are known; the other images stay as they are."""
    for each in reversed(images(text)):
        digest = known.get((each.name, each.tag))
        if digest is not None:
            begin, end = each.place
            text = f"{text[:begin]}@{digest}{text[end:]}"
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
