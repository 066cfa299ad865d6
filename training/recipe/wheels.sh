#!/bin/sh
# wheels.sh FOLDER: download what a machine with Python 3.12, torch, torchvision, timm, pandas,
# scikit-learn, safetensors, pluggy, typer, OpenCV and huggingface-hub lacks, for Linux on x86-64.
# There: python3 -m pip install --no-index --no-deps --target SITE FOLDER/*.whl; PYTHONPATH=SITE:src
set -eu
folder=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
for name in albumentations albucore pydantic pydantic_core typing-inspection annotated-types \
    simsimd stringzilla captum simplejpeg pillow; do
    version=$(grep -i "^$(echo "$name" | tr - _)==\|^$name==" "$here/constraints.txt" | head -1)
    python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
        --platform manylinux_2_24_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -d "$folder" "$version"
done
du -ch "$folder"/*.whl
