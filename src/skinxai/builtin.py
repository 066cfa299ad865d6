"""The table of everything that ships with skinxai, brought in through the same hooks as plugins."""

from __future__ import annotations

from skinxai.hookspecs import hookimpl
from skinxai.registry import Entry

_TIMM = "skinxai.backbones:build_timm"
_LOSSES = "skinxai.losses.single_label"


@hookimpl
def skinxai_backbones() -> list[Entry]:
    """Networks of timm whose last feature map is a grid."""
    return [
        Entry("tf_efficientnet_lite0", _TIMM, "EfficientNet-Lite0, of the bundled model"),
        Entry("tf_efficientnet_lite1", _TIMM, "EfficientNet-Lite1, 240 px"),
        Entry("tf_efficientnet_lite2", _TIMM, "EfficientNet-Lite2, 260 px"),
        Entry("efficientnet_b0", _TIMM, "EfficientNet-B0 (Tan & Le, 2019)"),
        Entry("efficientnet_b3", _TIMM, "EfficientNet-B3 (Tan & Le, 2019)"),
        Entry("resnet18", _TIMM, "ResNet-18 (He et al., 2016)"),
        Entry("resnet50", _TIMM, "ResNet-50 (He et al., 2016)"),
        Entry("densenet121", _TIMM, "DenseNet-121 (Huang et al., 2017)"),
        Entry("convnext_atto", _TIMM, "ConvNeXt-Atto (Liu et al., 2022; sizes of timm)"),
        Entry("convnext_tiny", _TIMM, "ConvNeXt-Tiny (Liu et al., 2022)"),
    ]


@hookimpl
def skinxai_losses() -> list[Entry]:
    """Losses for single-label classification."""
    return [
        Entry("cross_entropy", f"{_LOSSES}:cross_entropy", "Cross entropy"),
        Entry("focal", f"{_LOSSES}:focal", "Focal loss (Lin et al., 2017)"),
        Entry(
            "class_balanced",
            f"{_LOSSES}:class_balanced",
            "Cross entropy weighted by effective numbers of images (Cui et al., 2019)",
        ),
        Entry(
            "logit_adjusted",
            f"{_LOSSES}:logit_adjusted",
            "Cross entropy for a uniform prior (Menon et al., 2021)",
        ),
    ]


@hookimpl
def skinxai_explainers() -> list[Entry]:
    """Explainers by gradients of the head."""
    return [
        Entry("gradcam", "skinxai.explainers.cam:GradCAM", "Grad-CAM (Selvaraju et al., 2017)"),
    ]


@hookimpl
def skinxai_datasets() -> list[Entry]:
    """Data sets in the layout that their publishers ship."""
    return [
        Entry("ham10000", "skinxai.data.loading:load_ham10000", "HAM10000 (Tschandl et al., 2018)"),
        Entry("folder", "skinxai.data.loading:load_folder", "One folder of images for each class"),
    ]
