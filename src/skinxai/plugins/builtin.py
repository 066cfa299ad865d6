"""The table of everything that ships with skinxai, brought in through the same hooks as plugins."""

from skinxai.plugins.hookspecs import hookimpl
from skinxai.plugins.registry import Entry

_TIMM = "skinxai.backbones:build_timm"
_LOSSES = "skinxai.losses.single_label"

_EXPLAINERS = (  # name, target, title, paper, what it shows
    (
        "gradcam",
        "cam:GradCAM",
        "Grad-CAM",
        "Selvaraju et al., 2017",
        "Regions whose features raise the score of the class, by the features' mean gradients.",
    ),
    (
        "gradcam++",
        "cam:GradCAMPlusPlus",
        "Grad-CAM++",
        "Chattopadhay et al., 2018",
        "Like Grad-CAM, with weights that give each of several regions its share.",
    ),
    (
        "layercam",
        "cam:LayerCAM",
        "LayerCAM",
        "Jiang et al., 2021",
        "Like Grad-CAM, with a weight for each place: finer details.",
    ),
    (
        "hirescam",
        "cam:HiResCAM",
        "HiResCAM",
        "Draelos & Carin, 2020",
        "Places whose own features raise the score of the class.",
    ),
    (
        "eigencam",
        "cam_without_gradients:EigenCAM",
        "Eigen-CAM",
        "Muhammad & Yeasin, 2020",
        "The strongest pattern among the network's features, whatever the class.",
    ),
    (
        "scorecam",
        "cam_without_gradients:ScoreCAM",
        "Score-CAM",
        "Wang et al., 2020",
        "Regions that raise the score of the class when the network sees little else.",
    ),
    (
        "ablationcam",
        "cam_without_gradients:AblationCAM",
        "Ablation-CAM",
        "Desai et al., 2020",
        "Regions whose features lower the score of the class when they are taken away.",
    ),
    (
        "saliency",
        "gradients:Saliency",
        "Saliency",
        "Simonyan et al., 2014",
        "Pixels whose small changes would change the score of the class most.",
    ),
    (
        "smoothgrad",
        "gradients:SmoothGrad",
        "SmoothGrad",
        "Smilkov et al., 2017",
        "Saliency averaged over noisy copies of the image, which makes it less speckled.",
    ),
    (
        "integrated_gradients",
        "gradients:IntegratedGradients",
        "Integrated gradients",
        "Sundararajan et al., 2017",
        "What each pixel adds to the score (above 0) or takes from it (below 0).",
    ),
    (
        "guided_backprop",
        "gradients:GuidedBackprop",
        "Guided backpropagation",
        "Springenberg et al., 2015",
        "Edges and textures that the network responds to; they hardly depend on the class.",
    ),
    (
        "occlusion",
        "perturbation:Occlusion",
        "Occlusion",
        "Zeiler & Fergus, 2014",
        "Places where covering the image lowers the score (above 0) or raises it (below 0).",
    ),
    (
        "rise",
        "perturbation:RISE",
        "RISE",
        "Petsiuk et al., 2018",
        "Places that go with a high score when random parts of the image are hidden.",
    ),
    (
        "lime",
        "perturbation:LIME",
        "LIME",
        "Ribeiro et al., 2016",
        "Patches that speak for the class (above 0) or against it (below 0) when some are hidden.",
    ),
    (
        "attention_rollout",
        "attention:AttentionRollout",
        "Attention rollout",
        "Abnar & Zuidema, 2020",
        "Patches that a transformer attends to through all its layers, whatever the class.",
    ),
    (
        "gradient_attention",
        "attention:GradientAttention",
        "Gradient-weighted attention",
        "Chefer et al., 2021",
        "Patches that a transformer attends to and that raise the score of the class.",
    ),
)
_ANY_NETWORK = (
    "saliency", "smoothgrad", "integrated_gradients", "occlusion", "rise", "lime",
)  # fmt: skip


@hookimpl
def skinxai_backbones() -> list[Entry]:
    """Networks of timm whose last feature map is a grid."""
    return [
        Entry("tf_efficientnet_lite0", _TIMM, "EfficientNet-Lite0, 224 px"),
        Entry("tf_efficientnet_lite1", _TIMM, "EfficientNet-Lite1, 240 px, of the bundled model"),
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
    return [
        Entry(
            name, f"skinxai.explainers.{target}", f"{title} ({paper})", title=title, shows=shows,
            any_network=name in _ANY_NETWORK,
        )
        for name, target, title, paper, shows in _EXPLAINERS
    ]  # fmt: skip


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
