"""What the default bundle says of real people in videos, by tracks and by lone faces.

    python tools/default_bundle/films.py VIDEO … --json benchmarks/results/films.json

The videos show real people alone. `protoleak screen` judges them as a user would have it do, and every track or face
that is called known is an accusation.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from protoleak.environment.machine import describe_machine
from protoleak.strict_json import json_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, help="of real people alone")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "-m", "protoleak", "screen", *map(str, arguments.videos), "--out", str(out)]
        subprocess.run(command, check=True)
        tracks = json.loads((out / "tracks.json").read_text())
        lines = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    rows = [row_of(source, lines) for source in tracks["sources"]]
    for row in rows:
        print(f"{row['video']}: tracks {row['tracks']}, faces {row['faces']}")
    record = {
        "what": "verdicts on tracks and on lone faces of videos that show real people alone",
        "bundle": tracks["run"]["bundle"],
        "rows": rows,
        "machine": describe_machine(),
    }
    arguments.json.write_bytes(json_bytes(record))


def row_of(source: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one video: how many tracks, and how many faces, got each verdict.

    Args:
        source: of tracks.json.
        lines: of verdicts.jsonl, of all videos.
    """
    name = source["source"]["name"]
    of_faces = (line for line in lines if line["type"] == "face" and line["source"] == name)
    return {
        "video": Path(name).name,
        "tracks": dict(Counter(track["track_verdict"]["verdict"] for track in source["tracks"])),
        "faces": dict(Counter(line["verdict"]["verdict"] for line in of_faces)),
    }


if __name__ == "__main__":
    main()
