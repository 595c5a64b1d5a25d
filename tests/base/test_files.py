"""Files named by the user: what can be read only once is refused before anything blocks on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import digest, is_read_once
from tokenswarm.base.tls import client_context
from tokenswarm.scenario.arrival_times import read_times
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.sim.hardware import load_profile


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe into which nobody writes: whoever reads it waits for ever."""
    path = tmp_path / "pipe.toml"
    os.mkfifo(path)
    return path


def test_a_file_a_folder_and_what_is_not_there_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    link = tmp_path / "link"
    link.symlink_to(file)
    assert not any(map(is_read_once, (file, link, tmp_path, tmp_path / "none")))


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_a_device_and_what_is_another_file_in_each_process_cannot(path: str) -> None:
    assert is_read_once(Path(path))
    with pytest.raises(UserError, match="write what it gives to a file") as caught:
        digest(Path(path))
    assert caught.value.code is Exit.DATA


@pytest.mark.parametrize("scenario", ["dataset", "replay"])
def test_a_pipe_as_data_is_refused_at_once(pipe: Path, scenario: str) -> None:
    with pytest.raises(UserError, match="pipe or a device"):
        load_scenario(scenario, data=str(pipe))


def test_so_is_one_as_any_other_file(pipe: Path) -> None:
    with pytest.raises(ValueError, match="pipe or a device"):
        read_times(str(pipe))
    with pytest.raises(UserError, match="pipe or a device"):
        load_profile(str(pipe))
    with pytest.raises(OSError, match="pipe or a device"):
        client_context(str(pipe))
