"""Errors of models, of their explanations and of plugins."""

from skinxai.errors.root import SkinxaiError


class ModelError(SkinxaiError):
    """A model that cannot be used."""

    code = "model"


class ModelNotFoundError(ModelError):
    """No such model folder or Hub name."""

    code = "model_not_found"


class HubError(ModelError):
    """The Hugging Face Hub does not answer, or not as it should."""

    code = "hub"


class IntegrityError(ModelError):
    """Files that do not agree with the manifest or the weights."""

    code = "integrity"


class UnsafeFormatError(ModelError):
    """Weights in a format that can run code."""

    code = "unsafe_format"


class ModelConfigError(ModelError):
    """A config that breaks its schema."""

    code = "model_config"


class ExportError(ModelError):
    """A network that cannot be exported, or an exported one that answers otherwise."""

    code = "export"


class NonFiniteOutputError(ModelError):
    """NaN or infinite logits."""

    code = "non_finite_output"


class ExplainError(SkinxaiError):
    """An explanation that cannot be made."""

    code = "explain"


class ExplainTimeoutError(ExplainError):
    """No time left for all network passes; ``predictions`` has the answers that were ready."""

    code = "explain_timeout"

    def __init__(self, message: str) -> None:
        self.predictions: tuple[object, ...] = ()
        super().__init__(message)


class PluginError(SkinxaiError):
    """A plugin that breaks its contract."""

    code = "plugin"


class PluginMannersError(PluginError):
    """An explainer that left the network or the process changed."""

    code = "plugin_manners"
