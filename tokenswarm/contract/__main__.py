"""`python -m tokenswarm.contract`: regenerate the JSON Schemas in docs/schema/."""

from __future__ import annotations

import sys

from tokenswarm.base.data_files import CHECKOUT
from tokenswarm.base.files import write_whole
from tokenswarm.contract.json_schemas import SCHEMAS, schema_text


def main() -> int:
    """Write them; the exit code."""
    if CHECKOUT is None:
        print("tokenswarm: the schemas are written in a checkout of the project, where docs/ is", file=sys.stderr)
        return 2
    folder = CHECKOUT / "docs" / "schema"
    folder.mkdir(exist_ok=True)
    for name in SCHEMAS:
        write_whole(folder / name, schema_text(name))
        print(folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
