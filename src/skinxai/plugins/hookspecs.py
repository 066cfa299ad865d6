"""The hooks: how other packages add backbones, losses, explainers, data sets and image formats.

A plugin is a module that an entry point of the group ``skinxai`` names::

    [project.entry-points.skinxai]
    myplugin = "my_package.plugin"

and that implements any of the hooks below with `hookimpl`. Hooks return `Entry` values that
name their targets as text, so that a plugin costs nothing until it is used.
"""

from typing import Any

import pluggy

from skinxai.plugins.registry import Entry

PROJECT = "skinxai"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def skinxai_backbones() -> list[Entry]:  # type: ignore[empty-body]
    """Backbones: builders ``(name, num_classes, drop_rate) -> SkinClassifier``.

    A builder may also take the keyword ``drop_path_rate`` (stochastic depth, 0 < rate < 1), which
    is passed only where a user asks for it; for a builder without it that is an error. The
    network's ``get_classifier()``, or one submodule named ``classifier``, ``fc`` or ``head``, tells
    the classifier from the body, and timm's ``group_matcher(coarse=True)`` its stages: layer-wise
    learning rates and frozen stages go by them.

    Example::

        @hookimpl
        def skinxai_backbones():
            return [Entry("my_net", "my_package.nets:build", "Our own network")]
    """


@hookspec
def skinxai_losses() -> list[Entry]:  # type: ignore[empty-body]
    """Losses: functions ``(logits (N, K) float, target (N,) int64) -> scalar tensor``.

    Keyword-only parameters are the loss's options, which users may set. A loss with the keyword
    ``class_counts`` is given the images of each class in the training part, a tuple of K numbers
    ≥ 1. Return a mean over images, so that micro-batches of equal size have the whole batch's mean.

    Example::

        @hookimpl
        def skinxai_losses():
            return [Entry("poly1", "my_package.losses:poly1", "PolyLoss (Leng et al., 2022)")]
    """


@hookspec
def skinxai_explainers() -> list[Entry]:  # type: ignore[empty-body]
    """Explainers: final subclasses of `skinxai.Explainer`.

    Example::

        @hookimpl
        def skinxai_explainers():
            return [Entry("saliency", "my_package.saliency:Saliency", "Input gradients")]
    """


@hookspec
def skinxai_datasets() -> list[Entry]:  # type: ignore[empty-body]
    """Data sets: functions ``root -> skinxai.data.Records``.

    Example::

        @hookimpl
        def skinxai_datasets():
            return [Entry("ph2", "my_package.ph2:load", "PH2, 200 images, 3 classes")]
    """


@hookspec(firstresult=True)
def skinxai_read_image(image: Any) -> Any:
    """Read one input that skinxai itself does not read; the first answer that is not None wins.

    Args:
        image: what the user passed.

    Returns:
        RGB uint8 ``(H, W, 3)``, upright, as a NumPy array; or ``None`` to pass.

    Example::

        @hookimpl
        def skinxai_read_image(image):
            if str(image).endswith(".dcm"):
                return read_dicom(image)
    """
