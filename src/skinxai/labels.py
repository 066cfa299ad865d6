"""Label sets: the order of the classes, their long names, and which are malignant."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skinxai.errors import ModelConfigError, OptionError, UnknownNameError, closest
from skinxai.plain_text import MAX_CODE, MAX_NAME, broken_rule, composed
from skinxai.readonly import ReadOnly

MAX_CLASSES = 1000


@dataclass(frozen=True)
class LabelSet(Sequence[str]):
    """Ordered label codes; position ``k`` is column ``k`` of the logits.

    Args:
        codes: short label codes, unique, in logit order; each printable, on one line, and of at
            most 100 characters.
        names: long name of each code, of at most 200 characters; a code without one is its own
            name.
        malignant: codes declared malignant, or ``None`` where nothing is declared.

    Raises:
        OptionError: text or a set in the place of the codes.
        ModelConfigError: codes, names or malignant codes that break these rules.
    """

    codes: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    malignant: frozenset[str] | None = None

    def __post_init__(self) -> None:
        codes = _in_order(self.codes)
        if len(codes) > MAX_CLASSES:
            raise ModelConfigError(f"labels must be at most {MAX_CLASSES}, got {len(codes)}.")
        if (
            len(codes) < 2
            or len(set(map(composed, codes))) != len(codes)
            or not all(isinstance(code, str) and code for code in codes)
        ):
            raise ModelConfigError(
                f"labels must be at least two different non-empty codes, got {list(codes)!r}."
            )
        if not isinstance(self.names, Mapping):
            raise ModelConfigError(
                f"labels.names must be codes with names, got {type(self.names).__name__}."
            )
        broken = [broken_rule("a label's code", code, MAX_CODE) for code in codes]
        broken += [
            broken_rule(f"the name of label {c!r}", n, MAX_NAME) for c, n in self.names.items()
        ]
        if any(broken):
            raise ModelConfigError(next(filter(None, broken)))
        try:
            malignant = None if self.malignant is None else frozenset(self.malignant)
        except TypeError as error:
            raise ModelConfigError(
                f"labels.malignant must be a list of codes, got {self.malignant!r:.80}."
            ) from error
        for part, known in (("names", set(self.names)), ("malignant", malignant or set())):
            if unknown := sorted(map(str, set(known) - set(codes))):
                raise ModelConfigError(
                    f"labels.{part} must only name labels {list(codes)}, got {unknown}."
                )
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "names", ReadOnly(self.names))
        object.__setattr__(self, "malignant", malignant)

    @classmethod
    def of(cls, labels: "LabelSet | Iterable[str]") -> "LabelSet":
        """The label set of some codes in logit order; a label set itself as it is.

        Raises:
            OptionError: text, a number, or codes without an order, such as those of a set.
            ModelConfigError: fewer than two codes, one twice, or one that is no code.
        """
        return labels if isinstance(labels, LabelSet) else cls(_in_order(labels))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Any:
        return self.codes[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.codes)

    def position(self, code: str) -> int:
        """Column of ``code`` in the logits; an unknown code is an `UnknownNameError`."""
        if code in self.codes:
            return self.codes.index(code)
        raise self._unknown(code)

    def code_of(self, text: str) -> str:
        """The code that a person means: the code itself, or its long name, in any case.

        A code as it is written comes first. ``code_of("melanoma")`` and ``code_of("MEL")`` are
        ``"mel"`` in `HAM10000_LABELS`.

        Raises:
            UnknownNameError: no such label, or text that several labels fit.
        """
        if text in self.codes:
            return text
        plain = _plain(text)
        fitting = [c for c in self.codes if plain in (_plain(c), _plain(self.long_name(c)))]
        if len(fitting) > 1:
            raise UnknownNameError(f"Label {text!r} could be any of {fitting}; give one of these.")
        if not fitting:
            raise self._unknown(text)
        return fitting[0]

    def _unknown(self, text: object) -> UnknownNameError:
        written = {_plain(name): c for c in self.codes for name in (self.long_name(c), c)}
        plain = _plain(text)
        near = closest(plain, written) or next(
            (
                name for name in written
                if min(len(plain), len(name)) > 2 and (plain in name or name in plain)
            ),
            None,
        )  # fmt: skip
        if near is None:
            hint = ""
        else:
            code = written[near]
            name = f" ({self.names[code]})" if code in self.names else ""
            hint = f" Did you mean {code!r}{name}?"
        return UnknownNameError(
            f"Unknown label {text!r}; it must be one of {list(self.codes)}.{hint}"
        )

    def long_name(self, code: str) -> str:
        """Long name of ``code``, or the code itself where none is given."""
        return self.names.get(code, code)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "codes": list(self.codes),
            "names": dict(self.names),
            "malignant": None if self.malignant is None else sorted(self.malignant),
        }


def _in_order(labels: object) -> tuple[Any, ...]:
    """Codes as they stand; what has no order would name each class by chance."""
    without = isinstance(labels, str | bytes | Mapping | set | frozenset)
    if without or not isinstance(labels, Iterable):
        raise OptionError(
            f"labels must be a list of label codes in the order of the logits, such as "
            f"['benign', 'malignant'], got {type(labels).__name__} {labels!r:.80}."
        )
    return tuple(labels)


def _plain(text: object) -> str:
    """Text as it is compared: without case, outer blanks, and doubled ones."""
    return " ".join(str(text).casefold().split())


HAM10000_LABELS = LabelSet(
    codes=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    names={
        "akiec": "actinic keratosis / intraepithelial carcinoma",
        "bcc": "basal cell carcinoma",
        "bkl": "benign keratosis-like lesion",
        "df": "dermatofibroma",
        "mel": "melanoma",
        "nv": "melanocytic nevus",
        "vasc": "vascular lesion",
    },
    malignant=frozenset({"mel", "bcc", "akiec"}),
)
"""The seven classes of HAM10000 (Tschandl et al., Sci Data 5:180161, 2018)."""
