"""The same model behind LitServe, in batches.

Usage: python by_litserve.py PORT [BACKEND]     (pip install litserve)
"""

import base64
import sys

import litserve

from skinxai import Classifier


class Lesions(litserve.LitAPI):
    def setup(self, device: str) -> None:
        backend = sys.argv[2] if len(sys.argv) > 2 else "torch"
        self.classifier = Classifier.from_pretrained(backend=backend)

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image"])

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def predict(self, images: list[bytes]) -> list[dict]:
        return [found.to_dict() for found in self.classifier.predict(images)]

    def unbatch(self, output: list[dict]) -> list[dict]:
        return output

    def encode_response(self, output: dict) -> dict:
        return output


if __name__ == "__main__":
    api = Lesions(max_batch_size=16, batch_timeout=0.005, api_path="/v1/predict")
    server = litserve.LitServer(api, accelerator="cpu", healthcheck_path="/healthz")
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="error", generate_client_file=False
    )
