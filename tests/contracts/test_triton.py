"""Triton's own client, unchanged, against a running server; it lives in an environment of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import tiny
from tests.examples.served import serving

VENV = Path(__file__).parents[2] / "build" / "triton-venv"
ASK = """
import json, sys
import numpy as np
import tritonclient.http as triton

client = triton.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
while not client.is_server_ready():
    pass
assert client.is_server_live() and client.is_model_ready("late_order", "1")
kinds = {item["name"]: item["datatype"] for item in client.get_model_metadata("late_order")["inputs"]}
dtypes = {"BYTES": object, "FP64": np.float64, "INT64": np.int64}
inputs = []
for name, value in json.loads(sys.argv[2]).items():
    if value is not None:
        item = triton.InferInput(name, [1], kinds[name])
        item.set_data_from_numpy(np.array([value], dtypes[kinds[name]]))
        inputs.append(item)
found = client.infer("late_order", inputs, request_id="mine")
named = client.infer("late_order", inputs, model_version="1", outputs=[triton.InferRequestedOutput("score")])
assert named.as_numpy("score") == found.as_numpy("score")
try:
    client.infer("late_order", inputs, model_version="7")
except triton.InferenceServerException as error:
    refused = error.message()
print(json.dumps([found.get_response()["id"], found.as_numpy("score")[0], bool(found.as_numpy("decision")[0]), refused]))
"""


@pytest.fixture(scope="module")
def python():
    found = VENV / "bin" / "python"
    if not (VENV / "ready").exists():
        steps = (
            [sys.executable, "-m", "venv", VENV],
            [found, "-m", "pip", "install", "-q", "tritonclient[http]"],
        )
        for step in steps:
            if (done := subprocess.run(step, capture_output=True, text=True)).returncode:
                pytest.skip(f"Triton's client could not be installed: {done.stderr.strip()[-200:]}")
        (VENV / "ready").touch()
    return found


@pytest.mark.slow
def test_tritons_client_is_answered(python, tmp_path):
    tiny.build(tmp_path)
    row = tiny.order(1)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with serving(tmp_path, tiny) as port:
        command = [python, "-c", ASK, str(port), json.dumps(row)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    given, score, decision, refused = json.loads(done.stdout)
    assert (given, decision) == ("mine", score >= 0.5)
    assert refused == 'no version "7" in Production of model "late_order". Known: 1.'
