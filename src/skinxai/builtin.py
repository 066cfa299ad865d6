"""The table of everything that ships with skinxai, brought in through the same hooks as plugins."""

from __future__ import annotations

from skinxai.hookspecs import hookimpl
from skinxai.registry import Entry

_TIMM = "skinxai.backbones:build_timm"
_LOSSES = "skinxai.losses.single_label"

_EXPLAINERS = (
    ("gradcam", "cam:GradCAM", "Grad-CAM (Selvaraju et al., 2017)"),
    ("gradcam++", "cam:GradCAMPlusPlus", "Grad-CAM++ (Chattopadhay et al., 2018)"),
    ("layercam", "cam:LayerCAM", "LayerCAM (Jiang et al., 2021)"),
    ("hirescam", "cam:HiResCAM", "HiResCAM (Draelos & Carin, 2020)"),
    ("eigencam", "cam_without_gradients:EigenCAM", "Eigen-CAM (Muhammad & Yeasin, 2020)"),
    ("scorecam", "cam_without_gradients:ScoreCAM", "Score-CAM (Wang et al., 2020)"),
    ("ablationcam", "cam_without_gradients:AblationCAM", "Ablation-CAM (Desai et al., 2020)"),
    ("saliency", "gradients:Saliency", "Gradient of the image (Simonyan et al., 2014)"),
    ("smoothgrad", "gradients:SmoothGrad", "SmoothGrad (Smilkov et al., 2017)"),
    (
        "integrated_gradients",
        "gradients:IntegratedGradients",
        "Integrated gradients (Sundararajan et al., 2017)",
    ),
    (
        "guided_backprop",
        "gradients:GuidedBackprop",
        "Guided backpropagation (Springenberg et al., 2015)",
    ),
    ("occlusion", "perturbation:Occlusion", "Occlusion (Zeiler & Fergus, 2014)"),
    ("rise", "perturbation:RISE", "RISE (Petsiuk et al., 2018)"),
    ("lime", "perturbation:LIME", "LIME (Ribeiro et al., 2016)"),
    ("attention_rollout", "attention:AttentionRollout", "Rollout (Abnar & Zuidema, 2020)"),
    (
        "gradient_attention",
        "attention:GradientAttention",
        "Gradient-weighted attention (Chefer et al., 2021)",
    ),
)


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
    """Class activation maps, gradients, perturbations, attention."""
    return [Entry(name, f"skinxai.explainers.{target}", help) for name, target, help in _EXPLAINERS]


@hookimpl
def skinxai_datasets() -> list[Entry]:
    """Data sets in the layout that their publishers ship."""
    return [
        Entry(
            "ham10000", "skinxai.data.published:load_ham10000", "HAM10000 (Tschandl et al. 2018)"
        ),
        Entry(
            "folder",
            "skinxai.data.class_folders:load_folder",
            "A folder of images for each class",
        ),
    ]
