"""What this machine has for testing claims, and what a claim lacks here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenswarm.base.errors import UserError
from tokenswarm.claim_checks.claim import SPEED, Claim
from tokenswarm.engines import EngineSpec, GpuSampler, default_runtime, load_description
from tokenswarm.engines.install_paths import places
from tokenswarm.engines.spec.engine_spec import Device


@dataclass(frozen=True, slots=True)
class Machine:
    """`gpus`: product names. `engines`: by name, why the engine is not available here, or None. `device`: cpu | cuda,
    for engines started here. `any_gpu`: accept other GPUs than the claim's. `anyway`: run claims without their hardware
    too, for their figures. `data`: whether a file of prompts was given."""

    gpus: tuple[str, ...] = ()
    engines: Mapping[str, str | None] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    device: Device = "cpu"
    any_gpu: bool = False
    anyway: bool = False
    data: bool = False

    @property
    def words(self) -> str:
        """`2 x NVIDIA H100 80GB HBM3`, or that there is no GPU."""
        counted = Counter(self.gpus)
        return ", ".join(f"{number} x {name}" for name, number in counted.items()) or "no GPU"

    def lacks_engine(self, name: str) -> str | None:
        """Why this engine cannot be tested here, or None."""
        if name in self.hosts:
            return None
        return self.engines.get(name, f"{name} was not asked for (ENGINES)")


def find_gpus() -> tuple[str, ...]:
    """Product names of this machine's GPUs."""
    sampler = GpuSampler.open()
    if sampler is None:
        return ()
    names = tuple(sampler.names)
    sampler.close()
    return names


def why_not(spec: EngineSpec, device: Device, runtime: str | None) -> str | None:
    """Why an engine cannot be started here, or None."""
    if spec.simulated:
        return None
    try:
        if (runtime or default_runtime(spec, device)) == "local":
            places(spec, device)
    except UserError:
        return f"{spec.title}: make engine-venv ENGINE={spec.name} DEVICE={device}"
    return None


def engines_here(names: list[str], device: Device, runtime: str | None) -> dict[str, str | None]:
    """By engine: why it is not available here, or None. Raises UserError (USAGE) for an unknown name."""
    return {name: why_not(load_description(name), device, runtime) for name in names}


def missing(claim: Claim, machine: Machine) -> list[str]:
    """What this machine lacks for a claim; empty if it can be tested. A check of several engines needs one of them; a
    comparison of engines needs all."""
    needs = claim.needs
    if needs.lacks:
        return [needs.lacks]
    hardware = _hardware(claim, machine)
    if hardware:
        return hardware  # an engine for this machine's hardware would not help
    engines = [reason for name in needs.engines if (reason := machine.lacks_engine(name)) is not None]
    lacks = [] if claim.run.by == "check" and len(engines) < len(needs.engines) else engines
    return [*lacks, f"a file of prompts (DATA={needs.data})"] if needs.data and not machine.data else lacks


def _hardware(claim: Claim, machine: Machine) -> list[str]:
    needs = claim.needs
    wanted = max(needs.gpus, 1 if claim.kind == SPEED else 0)
    if not wanted or machine.anyway:
        return []
    name = needs.gpu or "GPU"
    fitting = [gpu for gpu in machine.gpus if machine.any_gpu or needs.gpu.lower() in gpu.lower()]
    if len(fitting) >= wanted:
        return []
    other = " (ANY_GPU=1 takes another kind)" if len(machine.gpus) >= wanted else ""
    return [f"{wanted} x {name}; here: {machine.words}{other}"]
