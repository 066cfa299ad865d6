"""A network of each of timm's families predicts at its own size, and has a map or says why not.

Weights are random. By default the families run that take different paths through this package; all
of them, in some minutes, where `FAMILIES=all` is set. Whether a map lies in the right place is
examined by `benchmarks/backbones.py`.
"""

import os
from functools import partial
from unittest import mock

import numpy as np
import pytest
import timm
import torch
from timm.models import model_entrypoint

from skinxai import Classifier, backbones
from skinxai.backbones.timm_networks import split_of
from skinxai.checkpoints import LoadedModel
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.errors import ExplainError
from skinxai.labels import LabelSet

LABELS = LabelSet(("a", "b", "c"))
MAPS = (
    "cs3darknet_s", "cpubone_nano", "csatv2", "davit_tiny", "deit_tiny_patch16_224", "densenet121",
    "dla46_c", "dpn48b", "edgenext_xx_small", "efficientformerv2_s0", "efficientvit_m0",
    "ese_vovnet19b_slim_dw", "eva02_tiny_patch14_224", "fasternet_t0", "fastvit_t8",
    "focalnet_tiny_srf", "gcvit_xxtiny", "ghostnet_050", "gmlp_ti16_224", "halonet26t",
    "hardcorenas_a", "hgnetv2_b0", "hrnet_w18_small", "iformer_t", "inception_next_atto",
    "inception_resnet_v2", "inception_v3", "lcnet_035", "lcnetv2_small", "legacy_seresnet18",
    "legacy_xception", "lowformer_b0", "mobilevit_xxs", "nasnetalarge", "nest_tiny",
    "nextvit_small", "pnasnet5large", "poolformer_s12", "pvt_v2_b0", "rdnet_tiny", "regnetx_002",
    "repghostnet_050", "repvgg_a0", "repvit_m0_9", "res2net50_48w_2s", "resnest14d", "resnet10t",
    "resnetv2_18", "sam2_hiera_tiny", "selecsls42", "sequencer2d_s", "shvit_s1", "skresnet18",
    "starnet_s050", "swiftformer_xs", "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224",
    "swinv2_tiny_window8_256", "test_convnext", "test_mambaout", "test_maxvit", "test_nfnet",
    "test_vit", "tiny_vit_5m_224", "tinynet_e", "tresnet_m", "vgg11", "vit_tiny_r_s16_p8_224",
    "vitamin_small_224", "xception41",
)  # fmt: skip
WITHOUT = (
    "beit_base_patch16_224", "cait_xxs24_224", "coat_lite_tiny", "convit_tiny",
    "convmixer_768_32", "crossvit_tiny_240", "cspnext_tiny", "deepseek_vit_412m",
    "efficientformer_l1", "efficientvim_m1", "efficientvit_b0", "gemma4_vit_167m",
    "hiera_tiny_224", "inception_v4", "levit_128s", "mobilenetv5_base", "mvitv2_tiny",
    "naflexvit_base_patch16_gap", "pit_ti_224", "qwen3_vit_88m", "rexnet_100",
    "samvit_base_patch16_224", "test_vit_relpos", "tnt_s_legacy_patch16_224", "twins_svt_small",
    "visformer_tiny", "volo_d1_224", "xcit_nano_12_p16_224",
)  # fmt: skip
ALWAYS = {
    # maps with channels first and last, of several windows and strides
    "cs3darknet_s", "efficientformerv2_s0", "fasternet_t0", "hrnet_w18_small", "lcnet_035",
    "mobilevit_xxs", "pvt_v2_b0", "regnetx_002", "resnet10t", "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_224", "test_convnext", "test_mambaout", "test_maxvit", "test_nfnet",
    "tinynet_e",
    # tokens: the mean or the class token is read, or a mixer's
    "deit_tiny_patch16_224", "eva02_tiny_patch14_224", "gmlp_ti16_224", "test_vit",
    "vit_tiny_r_s16_p8_224",
    # refused
    "coat_lite_tiny", "convit_tiny", "cspnext_tiny", "efficientvit_b0", "levit_128s", "pit_ti_224",
    "rexnet_100", "test_vit_relpos", "xcit_nano_12_p16_224",
}  # fmt: skip
SHALLOW = {"deepseek_vit_412m", "gemma4_vit_167m", "qwen3_vit_88m"}
"""The smallest of their families, with up to 412 million weights: two of their blocks are built."""
EVERY = os.environ.get("FAMILIES") == "all"
PHOTO = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def classifier_of(name: str) -> tuple[Classifier, torch.nn.Module]:
    """Of a network of timm, and the network itself."""
    blocks = {"depth": 2} if name in SHALLOW else {}
    with mock.patch.object(timm, "create_model", partial(timm.create_model, **blocks)):
        model = backbones.build(f"timm/{name}", len(LABELS))
    with torch.no_grad():  # some begin with a classifier of zeros
        for own in backbones.classifier_names(model):
            model.network.get_parameter(own).normal_(0, 0.1)
    size = model.network.default_cfg["input_size"][1:]
    config = ModelConfig(name, f"timm/{name}", LABELS, PreprocessConfig(tuple(size)))
    return Classifier(LoadedModel(model, config, "", "new"), device="cpu"), model.network


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(not (EVERY or name in ALWAYS), reason="FAMILIES=all")
        )
        for name in (*MAPS, *WITHOUT)
    ],
)
def test_a_network_of_a_family_predicts_and_has_a_map_or_says_why_not(name: str) -> None:
    classifier, network = classifier_of(name)
    found = classifier.predict(PHOTO)
    rows = np.array(list(found.probabilities.values()))
    assert np.isfinite(rows).all() and rows.sum() == pytest.approx(1)
    assert found.label in LABELS
    if name in WITHOUT:
        with pytest.raises(ExplainError, match=f"{type(network).__name__} is refused"):
            classifier.explain(PHOTO)
    else:
        heatmap = classifier.explain(PHOTO, target=found.label).heatmap
        assert heatmap.shape == PHOTO.shape[:2] and np.isfinite(heatmap).all()
        assert heatmap.min() >= 0  # it may be 0 everywhere; what is signed may not
        signed = classifier.explain(PHOTO, "hirescam", target=found.label, signed=True).heatmap
        assert signed.shape == PHOTO.shape[:2] and np.isfinite(signed).all()
        assert np.ptp(signed) > 0


def test_each_of_timms_families_is_in_the_list() -> None:
    """A family is a module of timm."""
    listed, every = (
        {model_entrypoint(name).__module__ for name in names}
        for names in ((*MAPS, *WITHOUT), timm.list_models())
    )
    assert listed == every and {*MAPS, *WITHOUT} >= ALWAYS


def test_attention_within_windows_is_refused_where_the_grid_is_as_large_as_a_window() -> None:
    classifier, _ = classifier_of("davit_tiny")
    with pytest.raises(
        ExplainError, match="attention methods need a transformer in which each layer"
    ):
        classifier.explain(PHOTO, "attention_rollout")


def test_a_class_token_alone_has_no_map() -> None:
    network = timm.create_model("eva02_tiny_patch14_224", num_classes=3, global_pool="token")
    with pytest.raises(ExplainError, match="Eva is refused: its head reads only the class token"):
        split_of(network).grid(network, torch.zeros(1, 257, 192), (224, 224))
