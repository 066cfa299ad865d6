"""The endpoint that one writes by hand: FastAPI, a def function, `predict`.

Usage: python by_hand.py PORT [BACKEND]
"""

import sys
from typing import Annotated

import uvicorn
from fastapi import Body, FastAPI

from skinxai import Classifier

classifier = Classifier.from_pretrained(backend=sys.argv[2] if len(sys.argv) > 2 else "torch")
app = FastAPI()


@app.post("/v1/predict")
def predict(image: Annotated[bytes, Body(media_type="image/jpeg")]) -> dict:
    return classifier.predict(image).to_dict()


@app.get("/healthz")
def health() -> dict:
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
