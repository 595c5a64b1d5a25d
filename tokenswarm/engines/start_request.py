"""A request to start an engine: one record for every runtime."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.install_paths import tiny_model
from tokenswarm.engines.spec.engine_spec import Device, DeviceProfile, EngineSpec
from tokenswarm.engines.spec.flags import Resolved, SettingsLike, resolve

Progress = Callable[[float, str], None]
"""Called while waiting with the seconds since the start and the last line of the engine's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """An engine to start, as a process or in a container. The engine's description, the environment or the system
    supplies values that are None."""

    description: EngineSpec
    log_path: Path
    """Where its log goes; of a container, when it has ended."""
    settings: SettingsLike = field(default_factory=dict)
    explicit: Collection[str] = ()
    """Names of the settings that the user asked for by hand."""
    model: str | None = None
    """Path or hub name; None means the tiny random model on a CPU."""
    served_name: str | None = None
    """The name that clients use; None: the model's own."""
    device: str | None = None
    host: str | None = None
    """Address to listen at; None: 127.0.0.1, of a container BIND of the environment or 127.0.0.1."""
    port: int | None = None
    """None: any free one."""
    cpus: Collection[int] | None = None
    """The CPUs that it keeps to."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Further variables for its environment."""
    root: Path | None = None
    """Where engines are installed."""
    api_key: str | None = field(default=None, repr=False)
    """What to send where `settings` or `env` make the engine ask for a key."""
    gpus: str | None = None
    """Of a container: indices such as "0,1"; None: GPUS of the environment, or all."""
    image: str | None = None
    """Of a container: takes the place of the described image."""
    ready_timeout_s: float | None = None
    """None: as the description has it for the device."""

    @property
    def device_profile(self) -> tuple[Device, DeviceProfile]:
        """Name and profile of the device. Raises UserError(Exit.USAGE) for one that is not described."""
        return self.description.form(self.device)

    def resolve_settings(self) -> Resolved:
        """The settings as they will be asked of the engine. Raises UserError(Exit.USAGE)."""
        return resolve(self.description, self.settings, self.device, self.explicit)

    def model_and_name(self) -> tuple[str, str]:
        """Path or hub name of the model, and the name that clients use.

        Raises UserError(Exit.USAGE) when the engine needs a model and none is named.
        """
        fixed = self.description.fixed_served_name
        if fixed is not None:
            name = self.served_name or self.model or fixed
            return name, name
        if self.model is None:
            if self.device_profile[0] != "cpu":
                raise UserError(
                    Exit.USAGE, f"{self.description.title} needs a model: name one, such as MODEL=Qwen/Qwen3-8B."
                )
            return str(tiny_model(self.description, self.root)), self.served_name or "tiny"
        is_here = Path(self.model).exists()
        return self.model, self.served_name or (Path(self.model).resolve().name if is_here else self.model)
