"""[endpoint] of a scenario: the request format and the credentials of the endpoint under load.

Shared endpoints are described by data files: compose/endpoints/*.toml, named by `endpoint.preset` (ENDPOINT,
--endpoint). Values of headers, query and proxy may be `env:NAME`: run.json holds the name, and each process of a run
takes the value from its environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tokenswarm.base.endpoint import CHAT, COMPLETIONS, MODELS, RESPONSES, EndpointForm, Proxy
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import at_home
from tokenswarm.base.lookup import ENDPOINTS, shown
from tokenswarm.base.masking import LEAST_KEY_CHARS, hold_secret
from tokenswarm.base.sentences import unknown
from tokenswarm.base.toml_text import NotToml, decode
from tokenswarm.scenario.requests import refuse_reserved
from tokenswarm.scenario.values import Section, Usd

_VARIABLE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS = frozenset(
    {
        "host",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "accept",
        "accept-encoding",
        "x-request-id",
        "expect",
        "upgrade",
    }
)
_SECRET_PARAMETER = re.compile(r"(?i)(^|[-_])(key|token|secret|password|passwd|pwd|sig|signature|auth|code)$|apikey")
_PRESET = "preset"
CONSTRAINT_TEXTS = (
    "{name}",
    "{schema}",
    "{pattern}",
    "{choices}",
    "{choices_pattern}",
    "{choices_grammar}",
    "{grammar}",
)
"""Placeholder in a template of `constraints` for the requested schema or pattern."""
_KNOWN = f"known: {', '.join(CONSTRAINT_TEXTS)}"
_PLACEHOLDER = re.compile(r"\{[a-z_]+\}")
Path_ = Annotated[str, Field(pattern=r"^(/[!-~]*)?$", max_length=1000)]


class EndpointSettings(Section):
    """What servers that call themselves OpenAI-compatible take and refuse differently."""

    preset: str | None = Field(
        default=None,
        description="defaults from compose/endpoints/<this>.toml, or from a .toml file; values given here "
        "override them (ENDPOINT, --endpoint)",
    )
    url: str | None = Field(default=None, description="base URL, if HOST gives none")
    api: Literal["chat", "completions", "responses"] = Field(
        default="chat", description="chat (messages), completions (one text without roles) or responses"
    )
    chat_path: Path_ = Field(
        default=CHAT, description="path of chat completions below the base URL (//...: from the root)"
    )
    completions_path: Path_ = Field(default=COMPLETIONS, description="path of completions")
    responses_path: Path_ = Field(default=RESPONSES, description="path of responses")
    models_path: Path_ = Field(default=MODELS, description='path of the list of models; "" if there is none')
    query: dict[str, str] = Field(
        default_factory=dict, description="query parameters sent with each request; a value may be env:NAME"
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="headers sent with each request; a value may be env:NAME, which is never written anywhere",
    )
    bearer: bool = Field(default=True, strict=True, description="send API_KEY as Authorization: Bearer")
    verify_tls: bool = Field(default=True, strict=True, description="check the server's certificate")
    ca_file: str | None = Field(default=None, description="file with the trusted CA certificates (PEM)")
    proxy: str | None = Field(
        default=None, description="HTTP proxy, http://host:port or env:NAME; none is taken from the environment"
    )
    length_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens",
        description="name of the field for the answer's length limit: max_tokens or max_completion_tokens",
    )
    send_stream_options: bool = Field(
        default=True,
        strict=True,
        description="ask for usage in a stream (`stream_options`); without it tokens may be "
        "counted from events, which is less exact",
    )
    send_temperature: bool = Field(default=True, strict=True, description="send output.temperature")
    send_ignore_eos: bool = Field(
        default=True,
        strict=True,
        description="send ignore_eos if output.ignore_eos is set; without it answers end where the model ends them",
    )
    send_seed: bool = Field(default=True, strict=True, description="send the `seed` of output.extra or of a prompt")
    traceparent: bool = Field(
        default=False,
        strict=True,
        description="send a W3C `traceparent` with each request, so that an engine with tracing joins the trace; "
        "requests.csv has its trace_id",
    )
    fold_system: bool = Field(
        default=False,
        strict=True,
        description="put the system message before the first user message, for a model without a system role",
    )
    constraints: dict[Literal["json_schema", "regex", "choice", "grammar"], dict[str, object]] = Field(
        default_factory=dict,
        description="for each kind of constraint on an answer, the body keys that request it (structured.md); "
        "unset: as in the engine's description, else response_format for JSON schemas only",
    )
    input_usd_per_million: Usd | None = Field(default=None, description="price of a million prompt tokens, USD")
    cached_usd_per_million: Usd | None = Field(
        default=None, description="price of a million cached prompt tokens, USD; none = the same as uncached ones"
    )
    output_usd_per_million: Usd | None = Field(default=None, description="price of a million answer tokens, USD")

    @field_validator("constraints")
    @classmethod
    def _can_be_filled(cls, constraints: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        for kind, template in constraints.items():
            refuse_reserved(template)
            for text in _texts_in(template):
                for name in _PLACEHOLDER.findall(text):
                    if name not in CONSTRAINT_TEXTS:
                        raise ValueError(f"{kind} holds {name}, which has no meaning here ({_KNOWN})")
                    if name != text:
                        raise ValueError(
                            f"{kind} holds {name} within a longer text, where it is not filled in: let it stand alone"
                        )
        return constraints

    @field_validator("headers", "query", mode="before")
    @classmethod
    def _texts(cls, table: object) -> object:
        if not isinstance(table, dict):
            return table
        for name, value in table.items():
            if value is not None and not isinstance(value, str):
                raise ValueError(f'the value of {name} should be a text: {name} = "..."')
            if value is not None and not all(" " <= sign <= "~" for sign in value):
                raise ValueError(f"the value of {name} should hold ASCII characters alone, and no line break")
        return {name: value for name, value in table.items() if value is not None}

    @field_validator("headers")
    @classmethod
    def _names(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"may not hold {name}, which tokenswarm sets itself")
        return headers

    @field_validator("query")
    @classmethod
    def _no_secret(cls, query: dict[str, str]) -> dict[str, str]:
        for name, value in query.items():
            if is_secret_parameter(name) and not _VARIABLE.fullmatch(value):
                raise ValueError(
                    f"{name} looks like a secret, and would be written into run.json: put it into an "
                    f'environment variable and give {name} = "env:NAME"'
                )
        return query

    @field_validator("proxy")
    @classmethod
    def _is_proxy(cls, proxy: str | None) -> str | None:
        if proxy is not None and not _VARIABLE.fullmatch(proxy):
            if "@" in proxy:
                raise ValueError(
                    "should not hold a password, which would be written into run.json: put it into an "
                    'environment variable and give proxy = "env:NAME"'
                )
            Proxy.parse(proxy)
        return proxy

    @property
    def request_path(self) -> str:
        """The name of the path that requests go to: CHAT, COMPLETIONS or RESPONSES."""
        return {"chat": CHAT, "completions": COMPLETIONS, "responses": RESPONSES}[self.api]

    def form(self, environ: Mapping[str, str] | None = None) -> EndpointForm:
        """The settings with `env:NAME` values resolved; these values are masked from now on. Raises UserError (AUTH)
        for a variable that is missing or holds a value that cannot be sent."""
        environ = os.environ if environ is None else environ
        secrets: dict[str, str] = {}

        def filled(table: str, name: str, value: str) -> str:
            variable = _VARIABLE.fullmatch(value)
            if variable is None:
                return value
            secrets[variable[1]] = _secret(environ, variable[1], f"endpoint.{table}{name}")
            return secrets[variable[1]]

        headers = tuple((name, filled("headers.", name, value)) for name, value in self.headers.items())
        query = tuple((name, filled("query.", name, value)) for name, value in self.query.items())
        proxy = self.proxy and filled("", "proxy", self.proxy)
        hold_secret(secrets)
        paths = (
            (CHAT, self.chat_path or CHAT),
            (COMPLETIONS, self.completions_path or COMPLETIONS),
            (RESPONSES, self.responses_path or RESPONSES),
            (MODELS, self.models_path),
        )
        try:
            form = EndpointForm(
                paths,
                query,
                headers,
                self.bearer,
                self.verify_tls,
                self.ca_file,
                Proxy.parse(proxy) if proxy else None,
                tuple(secrets.values()),
            )
            if form.ca_file is not None:  # else there is no file to check, and the system's takes long to read
                form.tls_context()
        except ValueError as error:
            raise UserError(Exit.USAGE, f"endpoint.proxy: {error}") from None
        except OSError as error:
            raise UserError(
                Exit.USAGE,
                f"endpoint.ca_file: {self.ca_file} cannot be read as certificates ({error.strerror or error})",
            ) from None
        return form

    @property
    def priced(self) -> bool:
        """Whether token prices are known."""
        return self.input_usd_per_million is not None or self.output_usd_per_million is not None


def is_secret_parameter(name: str) -> bool:
    """Whether a query parameter of this name usually holds a key."""
    return bool(_SECRET_PARAMETER.search(name))


def _secret(environ: Mapping[str, str], variable: str, setting: str) -> str:
    value = environ.get(variable, "").strip()
    if not value:
        raise UserError(
            Exit.AUTH,
            f"{setting} takes its value from the environment variable {variable}, which is not "
            "set; set it wherever load is generated",
        )
    if not all(" " <= sign <= "~" for sign in value):
        raise UserError(
            Exit.AUTH,
            f"{setting}: the environment variable {variable} holds a line break or a character "
            "that is not ASCII, which cannot be sent in a request",
        )
    if len(value) < LEAST_KEY_CHARS:
        raise UserError(
            Exit.AUTH,
            f"{setting}: the environment variable {variable} holds fewer than {LEAST_KEY_CHARS} "
            "characters: it could not be kept out of what is written; where it is no secret, "
            "write the value itself",
        )
    return value


def with_preset(values: dict[str, object], wanted: str | None, folders: list[Path]) -> dict[str, object]:
    """A scenario's values with the endpoint's preset put in: one that its [endpoint] names stands under that table, one
    that was `wanted` by hand over it. Raises UserError (USAGE)."""
    table = values.get("endpoint")
    table = dict(table) if isinstance(table, dict) else table
    if isinstance(table, dict) and isinstance(table.get(_PRESET), str):
        table = _under(_read(table[_PRESET], folders), table)
    if wanted is not None and (table is None or isinstance(table, dict)):
        table = {**_under(table or {}, _read(wanted, folders)), _PRESET: wanted}
    return values if table is None else {**values, "endpoint": table}


def _under(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, object]:
    both = {**below, **above}
    for name in ("query", "headers"):
        if isinstance(below.get(name), dict) and isinstance(above.get(name), dict):
            both[name] = {**below[name], **above[name]}
    return both


def _read(name: str, folders: list[Path]) -> dict[str, object]:
    path = ENDPOINTS.find(name, beside=folders)
    if path is None:
        raise UserError(Exit.USAGE, ENDPOINTS.missing(name, beside=folders))
    try:
        content = decode(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Exit.USAGE, f"{shown(path)}: cannot be read: {error}") from None
    except NotToml as error:
        raise UserError(Exit.USAGE, f"{shown(path)}: is not valid TOML: {error}") from None
    for key in content:
        if key not in EndpointSettings.model_fields or key == _PRESET:
            raise UserError(Exit.USAGE, f"{shown(path)}: {unknown('key', key, EndpointSettings.model_fields)}")
    for key in ("ca_file",):
        if isinstance(file := content.get(key), str):
            content[key] = str((path.parent / at_home(file)).absolute())
    return content


def variables_of(settings: EndpointSettings) -> Iterator[str]:
    """Names of the environment variables that the endpoint's values come from."""
    for value in (*settings.headers.values(), *settings.query.values(), settings.proxy or ""):
        if (variable := _VARIABLE.fullmatch(value)) is not None:
            yield variable[1]


def _texts_in(value: object) -> Iterator[str]:
    """All strings in a template, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts_in(inner)
