"""What the bundled model answers to the first sample image, for the OpenAPI page."""

from __future__ import annotations

from typing import Any

PREDICTED: dict[str, Any] = {
    "results": [
        {
            "id": "7a9c5bb116e34b698e4a9611ab6d44cc",
            "index": 0,
            "source": "image 0",
            "label": "mel",
            "probability": 0.7677468050750939,
            "probabilities": {
                "akiec": 0.0003958492104350401,
                "bcc": 0.003837356874204032,
                "bkl": 0.14707708714365034,
                "df": 0.0008081617039518483,
                "mel": 0.7677468050750939,
                "nv": 0.07967604049631147,
                "vasc": 0.0004586994963534286,
            },
            "malignant_probability": 0.7719800111597329,
            "calibrated_on": "HAM10000, val part",
            "operating_point": "screening",
            "decision": "refer",
            "reasons": [
                "the malignant probability 0.772 is at least 0.054, the threshold of 'screening'"
            ],
            "quality": {},
            "novelty": {"score": 0.3586891531804556, "refused": False},
            "uncertainty": None,
            "prediction_set": ["mel", "bkl"],
            "warnings": [],
            "model": "skinxai-ham10000-lite1@6b81ea5773ed",
            "backend": "torch cpu float32",
        }
    ],
    "model": "skinxai-ham10000-lite1@6b81ea5773ed",
    "request_id": "2447fdfe1bc04774aae1e4f16a278212",
    "disclaimer": "Research tool, not a medical device.",
}
NEAREST: dict[str, Any] = {
    "neighbours": [
        {"id": "5c40f25310757584", "label": "mel", "distance": 0.08374651388119214},
        {"id": "109e7b0fec26a067", "label": "bkl", "distance": 0.139622611637245},
    ],
    "model": "skinxai-ham10000-lite1@6b81ea5773ed",
    "request_id": "371a5a342a6d4825bb8caf39adf5f65e",
    "disclaimer": "Research tool, not a medical device.",
}
EXPLAINED: dict[str, Any] = {
    "source": "image 0",
    "target": "mel",
    "against": None,
    "score": "logit",
    "method": "gradcam",
    "layer": "last feature map",
    "options": {},
    "scores": {},
    "degenerate": False,
    "warnings": [],
    "maps": {"gradcam": [450, 600]},
    "model": "skinxai-ham10000-lite1@6b81ea5773ed",
    "backend": "torch cpu float32",
    "versions": {"skinxai": "0.1.0", "torch": "2.14.1+cu130"},
    "seconds": 0.011202766000678821,
    "request_id": "c57d0bbaeb5741fbbda39fa5fcdb340d",
    "disclaimer": "Research tool, not a medical device.",
    "overlay_png": "iVBORw0KGgoAAAANSUhEUgAA…",
}
MODELS: dict[str, Any] = {
    "models": [
        {
            "name": "skinxai-ham10000-lite1",
            "model": "skinxai-ham10000-lite1@6b81ea5773ed",
            "labels": {
                "akiec": "actinic keratosis / intraepithelial carcinoma",
                "bcc": "basal cell carcinoma",
                "bkl": "benign keratosis-like lesion",
                "df": "dermatofibroma",
                "mel": "melanoma",
                "nv": "melanocytic nevus",
                "vasc": "vascular lesion",
            },
            "malignant": ["akiec", "bcc", "mel"],
            "backend": "torch cpu float32",
            "calibrated_on": "HAM10000, val part",
            "operating_points": ["balanced", "screening"],
            "default_operating_point": "screening",
        }
    ],
    "request_id": "65d60d59d2cd47f681c40092dae868b4",
    "disclaimer": "Research tool, not a medical device.",
}
