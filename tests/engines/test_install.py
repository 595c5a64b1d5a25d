"""Installing engines: which steps run once, which run again, and what an installation changes in files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.cli import main
from tokenswarm.engines import StartRequest
from tokenswarm.engines.install_paths import STAMP, default_root, places, tiny_model, venv_folder
from tokenswarm.engines.local import install as installer
from tokenswarm.engines.spec.engine_spec import EngineSpec, Install, Patch, load_description


def recipe(**changes: object) -> Install:
    """A small recipe, changed."""
    return Install.model_validate({"steps": [["some-package==1"]], "check": "pass"} | changes)


def test_engine_that_is_not_installed_is_a_sentence_with_the_command_to_type(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"vLLM is not installed for device cpu: run `make engine-venv ENGINE=vllm"
    ) as error:
        places(load_description("vllm"), "cpu", tmp_path)
    assert error.value.code is Exit.ENGINE


def test_half_made_installation_does_not_count(tmp_path: Path) -> None:
    folder = venv_folder("vllm", "cpu", tmp_path)
    (folder / "bin").mkdir(parents=True)
    with pytest.raises(UserError, match="not installed"):
        places(load_description("vllm"), "cpu", tmp_path)
    (folder / STAMP).write_text("{}")
    assert places(load_description("vllm"), "cpu", tmp_path).bin_dir == folder / "bin"


def test_simulator_needs_no_environment_of_its_own(tmp_path: Path) -> None:
    assert places(load_description("sim"), "cpu", tmp_path).python == Path(sys.executable)
    said: list[str] = []
    installer.install("sim", "cpu", tmp_path, said.append)
    assert "needs no environment" in said[0]


def test_unknown_engine_is_refused_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "install", "--engine", "nothing"]) == Exit.USAGE
    assert "unknown engine 'nothing'" in capsys.readouterr().err


def test_the_command_installs_for_the_device_and_says_what_it_did(
    built: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["engine", "install", "--engine", "vllm", "--device", "cpu", "--root", str(tmp_path)]
    assert main(line) == Exit.PASSED
    assert main(line) == Exit.PASSED
    assert built == ["vllm"]
    assert "vLLM for cpu is installed already" in capsys.readouterr().out


def test_root_is_a_cache_folder_unless_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENSWARM_ENGINES", "/somewhere")
    assert default_root() == Path("/somewhere")
    monkeypatch.delenv("TOKENSWARM_ENGINES")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_root() == Path("/home/me/.cache/tokenswarm/engines")


def test_root_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(UserError, match="cannot be written") as error:
        installer.install("vllm", "cpu", blocker / "engines", lambda text: None)
    assert error.value.code is Exit.ENGINE


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that were really built, without building any."""
    names: list[str] = []

    def build(description: EngineSpec, recipe: Install, venv: Path, say: object) -> None:
        (venv / "bin").mkdir(parents=True)
        names.append(description.name)

    monkeypatch.setattr(installer, "_build", build)
    monkeypatch.setattr(installer, "make_tiny_model", lambda *arguments: None)
    return names


def test_second_installation_finds_the_first(built: list[str], tmp_path: Path) -> None:
    said: list[str] = []
    installer.install("vllm", "cpu", tmp_path, said.append)
    installer.install("vllm", "cpu", tmp_path, said.append)
    assert built == ["vllm"]
    assert "is installed already" in said[-1]


def test_an_engine_of_gguf_files_gets_the_tiny_model_as_one(
    built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run(args: list[str], what: str) -> None:
        ran.append(args)
        Path(args[-1]).mkdir()

    monkeypatch.setattr(installer, "_run", run)
    for _ in range(2):
        installer.install("llamacpp", "cpu", tmp_path, lambda text: None)
    description = load_description("llamacpp")
    assert [Path(args[2]).name for args in ran] == ["tiny_gguf.py"], "made once"
    assert ran[0][3] == str(tiny_model(description, tmp_path).parent)
    assert StartRequest(
        description=description, device="cpu", log_path=tmp_path / "log", root=tmp_path
    ).model_and_name() == (
        str(tmp_path / "tiny-gguf" / "tiny-llama.gguf"),
        "tiny",
    )


def test_changed_recipe_is_installed_again(built: list[str], tmp_path: Path) -> None:
    installer.install("vllm", "cpu", tmp_path, lambda text: None)
    stamp = venv_folder("vllm", "cpu", tmp_path) / STAMP
    stamp.write_text(json.dumps({"fingerprint": "of an older recipe"}))
    (venv_folder("vllm", "cpu", tmp_path) / "bin").rmdir()
    installer.install("vllm", "cpu", tmp_path, lambda text: None)
    assert built == ["vllm", "vllm"]


def test_fingerprint_depends_on_the_recipe_and_the_files_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "DATA", tmp_path)
    used, other = tmp_path / "used.txt", tmp_path / "other.txt"
    used.write_text("a==1")
    other.write_text("b==1")
    mine = recipe(steps=[["-r", "{data}/used.txt"]])
    first = installer.fingerprint(mine)
    other.write_text("b==2")
    assert installer.fingerprint(mine) == first
    used.write_text("a==2")
    assert installer.fingerprint(mine) != first
    assert installer.fingerprint(recipe()) != installer.fingerprint(recipe(steps=[["some-package==2"]]))


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_data_files_that_a_recipe_names_are_there_and_pin_exact_versions(engine: str) -> None:
    mine = load_description(engine).install["cpu"]
    files = [part for step in mine.steps for part in step if "{data}" in part]
    assert files
    for file in files:
        lines = Path(file.replace("{data}", str(installer.DATA))).read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if line and not line.startswith("#")]
        assert pins
        assert [line for line in pins if "==" not in line or "@" in line] == []
    for name in mine.overlays:
        assert (installer.DATA / name / "__init__.py").is_file()


def test_patch_changes_each_fitting_line_and_refuses_a_file_that_it_does_not_fit(tmp_path: Path) -> None:
    (patch,) = load_description("sglang").install["cpu"].patches
    assert isinstance(patch, Patch)
    file = tmp_path / "registrations.py"
    file.write_text('@torch.library.register_fake("torchvision::nms")\ndef f(): ...\nx = 1\n')
    installer.patch_file(file, patch.pattern, patch.replacement)
    assert file.read_text() == '# @torch.library.register_fake("torchvision::nms")\ndef f(): ...\nx = 1\n'
    with pytest.raises(UserError, match="does not match the engine's description"):
        installer.patch_file(file, patch.pattern, patch.replacement)


def test_alias_makes_a_package_known_under_a_second_name(tmp_path: Path) -> None:
    installer.write_alias(tmp_path, "other-name", "1.2.3+cpu")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from importlib.metadata import version; "
    said = subprocess.run(
        [sys.executable, "-c", code + "print(version('other-name'))"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "1.2.3+cpu"


def test_failed_step_shows_the_end_of_what_it_said() -> None:
    with pytest.raises(UserError, match=r"checking failed .* code 3") as error:
        installer._run([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"], "checking")
    assert error.value.code is Exit.ENGINE
    assert "  | the reason" in str(error.value)
