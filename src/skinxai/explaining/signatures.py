"""How the calls of `Classifier` look to type checkers and editors.

What a call returns depends on what it is given: one image or many, errors raised or returned, one
class or all. Each class below is the signature of one method, as overloads; the function of the
same name marks the method as one of that signature, and changes nothing at run time.

A path is a photo, a folder or a pattern, and only the disk knows which. Its result is typed as one
photo's that is also an ``Any`` (`PlacePrediction`, `PlaceExplanation`): editors complete the
attributes of a `Prediction`, and code that takes the result as a list is not refused, as it would
be with ``Prediction | list[Prediction]`` and with ``Prediction | Any``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, Unpack, cast, overload

if TYPE_CHECKING:
    from skinxai.data.records import Records
    from skinxai.predicting.inputs import AnyInputs, Inputs, InputsOrErrors, OneImage, Place
    from skinxai.results import Explanation, ItemError, Neighbour, Prediction
    from skinxai.results.observation import Monitor

    Many = Iterable[Any]
    Images: TypeAlias = OneImage | Place | Many
    Target = str | Sequence[str] | None
    Raised = Literal["raise"]
    Returned = Literal["return"]
    Maps = dict[str, Explanation]

    class PlacePrediction(Prediction, Any):  # type: ignore[misc]
        """Of a path: a `Prediction`, or a list of them."""

    class PlaceExplanation(Explanation, Any):  # type: ignore[misc]
        """Of a path: an `Explanation`, or a list of them."""


class Predict(Protocol):
    """`Classifier.predict`."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # bytes and arrays are iterable too
        self, images: OneImage, *, tta: bool = ..., operating_point: str | None = ...,
        dropout_passes: int = ..., monitor: Monitor | None = ...,
        **inputs: Unpack[Inputs]
    ) -> Prediction: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Place, *, tta: bool = ..., operating_point: str | None = ...,
        dropout_passes: int = ..., monitor: Monitor | None = ...,
        **inputs: Unpack[AnyInputs]
    ) -> PlacePrediction: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Many, *, tta: bool = ..., operating_point: str | None = ...,
        dropout_passes: int = ..., monitor: Monitor | None = ...,
        **inputs: Unpack[Inputs]
    ) -> list[Prediction]: ...  # fmt: skip
    @overload
    def __call__(  # type: ignore[overload-overlap]  # bytes and arrays are iterable too
        self, images: OneImage, *, tta: bool = ..., operating_point: str | None = ...,
        dropout_passes: int = ..., monitor: Monitor | None = ...,
        **inputs: Unpack[InputsOrErrors]
    ) -> Prediction | ItemError: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Many, *, tta: bool = ..., operating_point: str | None = ...,
        dropout_passes: int = ..., monitor: Monitor | None = ...,
        **inputs: Unpack[InputsOrErrors]
    ) -> list[Prediction | ItemError]: ...  # fmt: skip


class Stream(Protocol):
    """`Classifier.stream`."""

    @overload
    def __call__(
        self, images: Images, *, explain: None = ..., tta: bool = ...,
        operating_point: str | None = ..., dropout_passes: int = ..., monitor: Monitor | None = ...,
        **inputs: Unpack[Inputs]
    ) -> Iterator[Prediction]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Images, *, explain: None = ..., tta: bool = ...,
        operating_point: str | None = ..., dropout_passes: int = ..., monitor: Monitor | None = ...,
        **inputs: Unpack[InputsOrErrors]
    ) -> Iterator[Prediction | ItemError]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Images, *, explain: str, all_classes: Literal[False] = ...,
        on_error: Raised = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        operating_point: str | None = ...,
        timeout: float | None = ..., **inputs_and_options: Any,
    ) -> Iterator[tuple[Prediction, Explanation]]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Images, *, explain: str, all_classes: Literal[False] = ...,
        on_error: Returned,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        operating_point: str | None = ...,
        timeout: float | None = ..., **inputs_and_options: Any,
    ) -> Iterator[tuple[Prediction, Explanation] | ItemError]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Images, *, explain: str, all_classes: Literal[True],
        on_error: Raised = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        operating_point: str | None = ...,
        timeout: float | None = ..., **inputs_and_options: Any,
    ) -> Iterator[tuple[Prediction, Maps]]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Images, *, explain: str, all_classes: Literal[True],
        on_error: Returned,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        operating_point: str | None = ...,
        timeout: float | None = ..., **inputs_and_options: Any,
    ) -> Iterator[tuple[Prediction, Maps] | ItemError]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Images, *, explain: str | None, all_classes: bool = ...,
        on_error: Raised | Returned = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        operating_point: str | None = ...,
        timeout: float | None = ..., **inputs_and_options: Any,
    ) -> Iterator[Any]: ...  # fmt: skip


class Explain(Protocol):
    """`Classifier.explain`."""

    @overload
    def __call__(
        self, images: OneImage, method: str = ..., *, all_classes: Literal[False] = ...,
        on_error: Raised = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> Explanation: ...  # fmt: skip
    @overload
    def __call__(
        self, images: OneImage, method: str = ..., *, all_classes: Literal[False] = ...,
        on_error: Returned,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> Explanation | ItemError: ...  # fmt: skip
    @overload
    def __call__(
        self, images: OneImage, method: str = ..., *, all_classes: Literal[True],
        on_error: Raised = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> Maps: ...  # fmt: skip
    @overload
    def __call__(
        self, images: OneImage, method: str = ..., *, all_classes: Literal[True],
        on_error: Returned,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> Maps | ItemError: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Place, method: str = ..., *, all_classes: Literal[False] = ...,
        on_error: Raised | Returned = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> PlaceExplanation: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Place, method: str = ..., *, all_classes: Literal[True],
        on_error: Raised | Returned = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> Any: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Many, method: str = ..., *, all_classes: Literal[False] = ...,
        on_error: Raised = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> list[Explanation]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Many, method: str = ..., *, all_classes: Literal[False] = ...,
        on_error: Returned,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> list[Explanation | ItemError]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Many, method: str = ..., *, all_classes: Literal[True],
        on_error: Raised = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> list[Maps]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Many, method: str = ..., *, all_classes: Literal[True],
        on_error: Returned,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> list[Maps | ItemError]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Images, method: str = ..., *, all_classes: bool,
        on_error: Raised | Returned = ...,
        target: Target = ..., against: str | None = ..., score: str = ..., tta: bool = ...,
        timeout: float | None = ..., isolate: str | None = ..., **inputs_and_options: Any,
    ) -> Any: ...  # fmt: skip


class Nearest(Protocol):
    """`Classifier.nearest`."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # bytes and arrays are iterable too
        self, images: OneImage, k: int = ..., *, records: Records | None = ...,
        **inputs: Unpack[Inputs],
    ) -> list[Neighbour]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Place, k: int = ..., *, records: Records | None = ...,
        **inputs: Unpack[Inputs],
    ) -> list[Any]: ...  # fmt: skip
    @overload
    def __call__(
        self, images: Many, k: int = ..., *, records: Records | None = ...,
        **inputs: Unpack[Inputs],
    ) -> list[list[Neighbour]]: ...  # fmt: skip


def as_predict(method: Callable[..., Any]) -> Predict:
    """A method of `Classifier`, with the signature of `Predict`."""
    return cast(Predict, method)


def as_stream(method: Callable[..., Any]) -> Stream:
    """A method of `Classifier`, with the signature of `Stream`."""
    return cast(Stream, method)


def as_explain(method: Callable[..., Any]) -> Explain:
    """A method of `Classifier`, with the signature of `Explain`."""
    return cast(Explain, method)


def as_nearest(method: Callable[..., Any]) -> Nearest:
    """A method of `Classifier`, with the signature of `Nearest`."""
    return cast(Nearest, method)
