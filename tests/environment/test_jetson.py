"""Power mode and clocks, from files laid out as on a Jetson."""

from __future__ import annotations

from pathlib import Path

import pytest

from protoleak.environment.jetson import read_jetson

ORIN = "NV Power Mode: MAXN\n0\n"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    write(tmp_path, "proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0")
    write(
        tmp_path,
        "etc/nv_tegra_release",
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    )
    for core, kilohertz in ((0, 2201600), (10, 729600), (2, 1113600)):
        write(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{kilohertz}\n")
    write(tmp_path, "sys/class/devfreq/17000000.gpu/cur_freq", "1300500000\n")
    return tmp_path


def test_a_jetson_tells_its_model_its_power_mode_and_its_clocks(orin: Path) -> None:
    facts = read_jetson(orin, lambda: ORIN)
    assert facts == {
        "model": "NVIDIA Jetson AGX Orin Developer Kit",
        "release": "R36 (release), REVISION: 4.3",
        "power mode": "MAXN",
        "cpu0": "2202 MHz",
        "cpu2": "1114 MHz",
        "cpu10": "730 MHz",
        "GPU (17000000.gpu)": "1300 MHz",
    }


def test_without_nvpmodel_the_power_mode_comes_from_its_status_file(orin: Path) -> None:
    write(orin, "var/lib/nvpmodel/status", "pmode:0002\n")
    assert (read_jetson(orin, lambda: None) or {})["power mode"] == "number 2"


def test_a_power_mode_that_cannot_be_read_says_how_to_read_it(orin: Path) -> None:
    assert "sudo nvpmodel -q" in (read_jetson(orin, lambda: None) or {})["power mode"]


def test_a_clock_that_is_no_number_is_left_out(orin: Path) -> None:
    write(orin, "sys/class/devfreq/17000000.gpu/cur_freq", "<unknown>\n")
    assert not any("GPU" in name for name in read_jetson(orin, lambda: ORIN) or {})


def test_another_arm_board_is_no_jetson_and_is_asked_nothing(tmp_path: Path) -> None:
    write(tmp_path, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")

    def query() -> str:
        raise AssertionError("nvpmodel was run")

    assert read_jetson(tmp_path, query) is None
