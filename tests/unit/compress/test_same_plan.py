"""The same run in two processes whose hashes are salted otherwise: the same plans, the same file, the same card."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

RUN = """
import asyncio, hashlib, json, sys
from dataclasses import replace
from pathlib import Path
from nanolocal.compress.asking import Ask
from nanolocal.compress.lab import Lab
from nanolocal.compress.plan import Device, Tier
from nanolocal.compress.targets import BitsPerWeight, Wish
from nanolocal.library.library import Library
from tests.fakes.lab_gguf import write_lab_gguf

models = Path(sys.argv[1]) / "models"
(models / "small").mkdir(parents=True)
write_lab_gguf(models / "small/small-F16.gguf", layers=1, halves=True)
library = Library([models], models.parent / "index.json")
lab = Lab(models, library, Device(8 * 10**9, 50 * 10**9, 20e9, 1))

async def work():
    prepared = await lab.prepare(Ask(library.get("small:F16"), Wish(BitsPerWeight(5.0), seconds=3600.0)))
    plan = replace(prepared.plan, chunks=4, held_out=4, tier=Tier.PROBED, rounds=False, hessian_bytes=0)
    return await lab.make(replace(prepared, plan=plan), lambda progress: None)

made = asyncio.run(work())
report = {key: value for key, value in made.report.items() if key not in ("made", "speed", "memory", "energy")}
report["search"].pop("seconds")
for name in ("read_per_s", "write_per_s", "peak_bytes"):
    report["accuracy"].pop(name)
print(hashlib.sha256(made.path.read_bytes()).hexdigest(), json.dumps(report))
"""


def test_two_processes_make_the_same_file_and_card(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path / salt)],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": salt, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for salt in ("1", "2")
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1]
    assert said[0].count('"kept": true') == 1
