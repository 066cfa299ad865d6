"""What the bundled model answers to the first sample image, for the OpenAPI page."""

from typing import Any

PREDICTED: dict[str, Any] = {
    "results": [
        {
            "id": "d074ab399b484895a34c836707677394",
            "index": 0,
            "source": "image 0",
            "label": "mel",
            "probability": 0.6969017144959719,
            "probabilities": {
                "akiec": 0.0006238497198425779,
                "bcc": 0.020672451172322658,
                "bkl": 0.2508331288301863,
                "df": 0.0005312245400114332,
                "mel": 0.6969017144959719,
                "nv": 0.02997625109781442,
                "vasc": 0.000461380143850732,
            },
            "malignant_probability": 0.7181980153881372,
            "calibrated_on": "HAM10000, val part",
            "operating_point": "screening",
            "decision": "refer",
            "reasons": [
                "the malignant probability 0.718 is at least 0.087, the threshold of 'screening'"
            ],
            "quality": {},
            "novelty": {"score": 0.36789111883341635, "refused": False},
            "uncertainty": None,
            "prediction_set": ["mel", "bkl"],
            "warnings": [],
            "model": "skinxai-ham10000-lite1@6b05c57019d6",
            "backend": "torch cpu float32",
        }
    ],
    "model": "skinxai-ham10000-lite1@6b05c57019d6",
    "request_id": "9256a17be4fc42acb4db835e2ce82859",
    "disclaimer": "Research tool, not a medical device.",
}
NEAREST: dict[str, Any] = {
    "neighbours": [
        {"id": "5c40f25310757584", "label": "mel", "distance": 0.09034603991926704},
        {"id": "09e16cfe00bbafbe", "label": "mel", "distance": 0.14036134669791567},
    ],
    "model": "skinxai-ham10000-lite1@6b05c57019d6",
    "request_id": "da95bb5b37114baf9ed81069cc678a01",
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
    "model": "skinxai-ham10000-lite1@6b05c57019d6",
    "backend": "torch cpu float32",
    "versions": {"skinxai": "0.1.0", "torch": "2.14.1+cu130"},
    "seconds": 0.001870574000349734,
    "request_id": "6ba8716566044b159eff960938ee80f5",
    "disclaimer": "Research tool, not a medical device.",
    "overlay_png": "iVBORw0KGgoAAAANSUhEUgAA…",
}
MODELS: dict[str, Any] = {
    "models": [
        {
            "name": "skinxai-ham10000-lite1",
            "model": "skinxai-ham10000-lite1@6b05c57019d6",
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
    "request_id": "4e94c604f7ad45a495f9a2cc4ac9acfe",
    "disclaimer": "Research tool, not a medical device.",
}
