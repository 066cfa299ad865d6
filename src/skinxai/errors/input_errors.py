"""Errors of one input: an image, an array or a path."""

from skinxai.errors.root import SkinxaiError


class InputError(SkinxaiError):
    """An image, an array or a path that cannot be used."""

    code = "input"


class ImageDecodeError(InputError):
    """Damaged, truncated or empty image data."""

    code = "image_decode"


class ImageTooLargeError(InputError):
    """More pixels or bytes than the limit."""

    code = "image_too_large"


class ImageTooSmallError(InputError):
    """Fewer pixels than a lesion needs."""

    code = "image_too_small"


class UnsupportedImageError(InputError):
    """A format or kind of image that is not read."""

    code = "image_unsupported"


class InputShapeError(InputError):
    """An array of the wrong shape."""

    code = "input_shape"


class InputDtypeError(InputError):
    """An array, or an object, of the wrong type."""

    code = "input_dtype"


class InputRangeError(InputError):
    """Array values outside the declared range, or not finite."""

    code = "input_range"


class InputNotFoundError(InputError):
    """No such file."""

    code = "input_not_found"


class InputPathError(InputError):
    """A path that is no regular file or cannot be followed."""

    code = "input_path"


class InputPermissionError(InputError):
    """A file that may not be read."""

    code = "input_permission"


class NoInputsError(InputError):
    """A folder or pattern without any image."""

    code = "no_inputs"


class UrlBlockedError(InputError):
    """A URL, or a kind of URL, that is not allowed."""

    code = "url_blocked"
