"""What stands in a repository beside the models: how to start the server, ask it, watch it; and how to build plans."""

from __future__ import annotations

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Manifest
from protoleak.serving.triton.configuration import ATTRIBUTOR, LATENT_ENCODER, looks_of
from protoleak.serving.triton.graphs import LOOKS, Z0
from protoleak.serving.triton.settings import IMAGES_MAXIMUM, RepositorySettings
from protoleak.version import __version__

README, PROBE, PLANS_SCRIPT = "README.md", "probe.png", "build_plans.sh"
BEST_BATCH = 8  # faces, that plans are tuned for


def readme(bundle: Bundle, variant: str, alpha: float, settings: RepositorySettings, models: tuple[str, ...]) -> str:
    """README.md of a repository.

    Args:
        variant: of the bundle.
        models: their names.
    """
    on_tensorrt = settings.backend == "tensorrt" and not settings.single
    folders = ", ".join(f"`{path}`" for path in settings.python_paths)
    parts = [
        _HEAD.format(
            name=bundle.manifest.name,
            sha256=bundle.sha256,
            variant=variant,
            alpha=alpha,
            form="one Python model" if settings.single else f"an ensemble on the backend {settings.backend}",
            models=", ".join(models),
            version=__version__,
        ),
        _PLANS if on_tensorrt else "",
        _START.format(version=__version__),
        _FOLDERS.format(folders=folders) if folders else "",
        _OWN_ENGINE if settings.single else "",
        _RUN.replace("{gpus}", " --gpus all" if on_tensorrt else ""),
        _ASK,
        _WATCH.format(queue=settings.queue),
        "" if settings.single else _CROWD.format(batch_maximum=settings.batch_maximum),
        _REPLACE,
    ]
    return "\n".join(part for part in parts if part)


def plans_script(manifest: Manifest, settings: RepositorySettings) -> str:
    """build_plans.sh: TensorRT plans of both graphs, on the machine and in the version that will run them."""
    looks = "x".join(map(str, looks_of(manifest)))
    latents = "x".join(map(str, (len(manifest.preprocessing.looks), *manifest.latent_shape)))
    most = settings.batch_maximum
    best = min(BEST_BATCH, most)
    builds = "\n".join(
        f"build {model} {tensor}:1x{shape} {tensor}:{best}x{shape} {tensor}:{most}x{shape}"
        for model, tensor, shape in ((LATENT_ENCODER, LOOKS, looks), (ATTRIBUTOR, Z0, latents))
    )
    return _PLANS_SCRIPT + builds + "\n"


_HEAD = """\
# protoleak on NVIDIA Triton Inference Server

The bundle `{name}`, variant {variant}, α = {alpha:g}, as {form}:
{models}. Written by protoleak {version}.
The bundle's SHA-256 is `{sha256}`.
"""

_PLANS = f"""\
## Build the plans first

The graphs are here as `model.onnx`; Triton's TensorRT backend needs plans. On the machine that will run them, in a
container with the same TensorRT as Triton's (NVIDIA's release of the same month):

```sh
docker run --rm --gpus all -v "$PWD:/models" nvcr.io/nvidia/tensorrt:YY.MM-py3 /models/{PLANS_SCRIPT}
```
"""

_START = """\
## Start

```dockerfile
FROM nvcr.io/nvidia/tritonserver:YY.MM-py3
RUN pip install --no-cache-dir "protoleak=={version}" "numpy<2"
```

`numpy<2`: the Python backend of many releases misreads NumPy 2 (python_backend #384); the models say so instead of
loading.
"""

_FOLDERS = """\
The Python models also look for protoleak in {folders}, in the container: instead of installing it in the image, make
such a folder with the container's own Python, `pip install --target FOLDER protoleak "numpy<2"`, and mount it.
"""

_OWN_ENGINE = """\
For an NVIDIA GPU install the extra of protoleak's engine too, such as `protoleak[tensorrt]`, and give `--gpus all`.
"""

_RUN = """\
```sh
docker build -t protoleak-triton .
docker run --rm{gpus} --shm-size=1g -p 8000:8000 -p 8001:8001 -p 8002:8002 -v "$PWD:/models:ro" protoleak-triton \\
  tritonserver --model-repository=/models --exit-timeout-secs=30
```

Triton listens on every address, without authentication: keep its ports inside your network, or give `--http-address`,
`--grpc-address` and `--metrics-address`. `--shm-size` is for what images go through between its processes.
"""

_ASK = f"""\
## Ask

One BYTES tensor `image` [N, 1] of encoded images, N ≤ {IMAGES_MAXIMUM}, gives one BYTES tensor `verdicts` [N, 1]. Each
element is JSON Lines as `protoleak screen --out` writes them: a line for each face, or one that says why there is none
(`"outcome": "no_face"` or `"error"`). A broken image fails alone, and is no failure of the request.

```python
import json

import numpy as np
import tritonclient.http as triton  # or tritonclient.grpc, port 8001

client = triton.InferenceServerClient("localhost:8000")
image = triton.InferInput("image", [1, 1], "BYTES")
image.set_data_from_numpy(np.array([[open("face.jpg", "rb").read()]], dtype=object))
(element,) = client.infer("protoleak", [image]).as_numpy("verdicts")[0]
for line in element.splitlines():
    record = json.loads(line)
    print(record["outcome"], record["verdict"], record.get("p_value"), record["sha256"])
```

Without a client library, the file is the whole body:

```sh
curl --data-binary @face.jpg -H 'Inference-Header-Content-Length: 0' \\
  localhost:8000/v2/models/protoleak/infer --output -
```

The answer is a JSON head, as long as its header `Inference-Header-Content-Length` says, then four bytes of length, then
the lines.
"""

_WATCH = f"""\
## Watch

Triton's own health check goes on saying ready after a Python model's process has died, while every inference fails with
500 (server #8604). Probe with an inference, which goes through every model:

```sh
curl --fail --silent --max-time 10 --output /dev/null --data-binary @{PROBE} \\
  -H 'Inference-Header-Content-Length: 0' localhost:8000/v2/models/protoleak/infer
```

A model's queue holds {{queue}} requests; one more is refused at once ("Exceeds maximum queue size"). Metrics are on
port 8002: `nv_inference_request_failure`, `nv_inference_queue_duration_us`, and `nv_inference_exec_count` against
`nv_inference_count`, which shows how many went together.
"""

_CROWD = """\
An image with more than {batch_maximum} faces is an `error` line: write the repository with a larger `--batch-maximum`.
"""

_REPLACE = """\
`protoleak triton` replaces this folder whole. A running server keeps what it has loaded, unless it polls: start another
one, probe it, then stop this one.
"""

_PLANS_SCRIPT = """\
#!/bin/sh
# Builds the plans of this repository. Run it where they will run: a plan is bound to the GPU model and to the version
# of TensorRT. Precision is in the graphs; nothing else may change it, hence --stronglyTyped and --noTF32.
set -eu
cd "$(dirname "$0")"
PATH="$PATH:/usr/src/tensorrt/bin"
build() {
  trtexec --onnx="$1/1/model.onnx" --saveEngine="$1/1/model.plan" --stronglyTyped --noTF32 --skipInference \\
    --minShapes="$2" --optShapes="$3" --maxShapes="$4"
}
"""
