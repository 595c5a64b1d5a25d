"""What goes into the package: one import package, whose parts lie in several folders of the repository.

All else about the project is in pyproject.toml.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).resolve().parent
DATA = ("scenarios", "locustfiles", "compose", "claims")
"""Folders at the top of the repository that are installed as data: tokenswarm/scenarios and so on."""


def data_packages():
    """Each folder of data that holds files, as a package without modules of its own."""
    folders = [path for name in DATA for path in (ROOT / name, *sorted((ROOT / name).rglob("*"))) if path.is_dir()]
    return [
        f"tokenswarm.{path.relative_to(ROOT).as_posix().replace('/', '.')}"
        for path in folders
        if path.name not in ("__pycache__", "wheels")
    ]


def rooms(folder):
    """All folders of one that holds code, with those that hold only data (profiles, templates, ...).

    Not tokenswarm/analysis, which is a link for type checkers, where somebody made it.
    """
    return find_namespace_packages(folder, exclude=("*__pycache__", "analysis", "analysis.*"))


setup(
    packages=[
        "tokenswarm",
        *(f"tokenswarm.{name}" for name in rooms("tokenswarm")),
        "tokenswarm.analysis",
        *(f"tokenswarm.analysis.{name}" for name in rooms("analysis")),
        *data_packages(),
    ],
    package_dir={
        "tokenswarm": "tokenswarm",
        "tokenswarm.analysis": "analysis",
        **{f"tokenswarm.{name}": name for name in DATA},
    },
    package_data={
        "": [
            "*.toml",
            "*.yaml",
            "*.yml",
            "*.json",
            "*.txt",
            "*.j2",
            "*.css",
            "*.js",
            "*.html",
            "*.py",
            "py.typed",
            "Dockerfile",
        ]
    },
)
