"""``skinxai report``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from skinxai.cli.image_arguments import bar, failed_line, listed, named, note_end, notes_of, opened
from skinxai.cli.options import Backend, Images, MaxPixels, Model, OperatingPoint, Tta, words
from skinxai.cli.saying import tell_above
from skinxai.errors import InputError, NonFiniteOutputError
from skinxai.images.limits import MAX_PIXELS
from skinxai.plain_text import MAX_NAME, printable

SUFFIXES = (".html", ".pdf")


class PageFormat(StrEnum):
    """How a page is written."""

    html = "html"
    pdf = "pdf"


def report(
    images: Images,
    out: Annotated[
        Path, typer.Option(help="Folder for the pages, or NAME.html or NAME.pdf for one image.")
    ],
    format: Annotated[
        PageFormat | None, typer.Option(help="html or pdf, in a folder [html].")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="One to three methods, separated by commas [gradcam, smoothgrad, "
                     "occlusion]."),
    ] = None,
    operating_point: OperatingPoint = None,
    dropout_passes: Annotated[
        int, typer.Option(help="Uncertainty by so many passes with dropout.", min=0)
    ] = 0,
    coverage: Annotated[float, typer.Option(help="Of the prediction set, in (0, 1).")] = 0.9,
    neighbours: Annotated[int, typer.Option(help="Most similar training lesions; 0: none.")] = 5,
    file_names: Annotated[
        bool,
        typer.Option("--file-names", help="Print each file's name on its page [no: it may name a "
                     "patient]."),
    ] = False,
    tta: Tta = False,
    model: Model = None,
    backend: Backend = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:  # fmt: skip
    """Write a page on each image: its decision, probabilities, heatmaps and where all that is from.

    PDF needs skinxai[pdf].
    """
    from skinxai.classifier import Classifier
    from skinxai.disk.writing import check_folder, made_folder, write_atomic
    from skinxai.images.sources import describe
    from skinxai.results import ItemError
    from skinxai.results.folder import ResultFolder

    single = out.suffix.lower() in SUFFIXES
    if single and format is not None:
        raise typer.BadParameter("--format is for a folder; the suffix of --out names it already.")
    sources, _ = listed(images, None if single else out)
    if single and len(sources) > 1:
        raise typer.BadParameter(f"--out must be a folder for {len(sources)} images, got {out}.")
    suffix = out.suffix.lower() if single else f".{(format or PageFormat.html).value}"
    if suffix == ".pdf":
        from skinxai.reporting.pdf_sheets import PdfSheet

        PdfSheet("")  # a missing package is an error before anything is computed
    folder = None if single else ResultFolder(out, sources)
    if single:
        check_folder(out.parent)
    classifier = Classifier.from_pretrained(model, backend=backend)
    given: dict[str, Any] = {
        "methods": words(methods), "operating_point": operating_point,
        "dropout_passes": dropout_passes, "coverage": coverage,
        "neighbours": neighbours, "tta": tta, "max_pixels": max_pixels,
        "progress": None if len(sources) == 1 else False,
    }  # fmt: skip
    failed = done = 0
    try:
        for number, source in enumerate(bar(sources)):
            name = describe(named(source))
            title = printable(Path(name).name, MAX_NAME) if file_names else ""
            try:
                made = classifier.report(opened(source), title=title, **given)
            except (InputError, NonFiniteOutputError) as error:
                failed += 1
                tell_above([failed_line(ItemError(number, name, error))])
            else:
                data = made.encoded(suffix)
                if folder is None:
                    with made_folder(out.parent):
                        write_atomic(out, data)
                    place = out
                else:
                    place = folder.put(folder.name_for(named(source), suffix), data)
                prediction = made.prediction
                shown = f"{prediction.label} {prediction.probability:.3f}"
                decided = f"  {prediction.decision}" if prediction.decision else ""
                line = f"{name}  {shown}{decided}  {place}"
                tell_above([line, *notes_of(prediction.warnings)])
            done += 1
    finally:
        if folder is not None:
            folder.write()
        note_end(done, len(sources), out)
    raise typer.Exit(1 if failed else 0)
