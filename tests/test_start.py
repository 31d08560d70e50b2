"""What the process imports before it answers: nothing that takes seconds."""

import os
import subprocess
import sys
from pathlib import Path

from yolo_backend.settings import PROJECT_DIR

SLOW = ("torch", "torchvision", "ultralytics", "openvino", "onnxruntime", "nltk", "pandas", "matplotlib", "scipy")


def test_nothing_slow_is_imported_at_the_start(tmp_path: Path) -> None:
    program = f"import sys, _wsgi; print(*(name for name in {SLOW} if name in sys.modules))"
    environment = {**os.environ, "MODEL_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
