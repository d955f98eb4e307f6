"""The report of one participant's personal models: what was learnt, whether it helps, and what this face is like.

Made from what is kept of the participant: samples, heads and attempts. No picture of a face is in it, since none is kept;
how a face moves is in it, so it is for the person and those who may see it.
"""

from pathlib import Path
from typing import Final

from config.settings import Settings
from daemon.errors import UnusableInputError
from daemon.report.page import write_page
from daemon.report.personal_drawn import NAMES, personal_pictures
from daemon.report.personal_page import personal_page
from daemon.report.pictures import remove_pictures, write_pictures
from daemon.report.portrait import portrait_of

PAGE: Final = "personal.html"


def write_personal_report(settings: Settings, participant: str, out: Path, *, force: bool = False) -> Path:
    """The path of `personal.html`, written with `figures/` into a folder.

    Raises:
        FailedError: It cannot be written.
        ModelError: A shipped model is missing, or the list of heads is damaged.
        UnusableInputError: Nothing is kept of this participant, too little, or the folder is not empty.
    """
    portrait = portrait_of(settings, participant)
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(out.iterdir()) and not force:
            msg = f"{out}: is not empty; give another folder, or --force to replace what was written there"
            raise UnusableInputError(msg)
        (out / PAGE).unlink(missing_ok=True)
        remove_pictures(out, ours=NAMES)
    except OSError as error:
        msg = f"{out}: cannot be written ({error.strerror}); give another folder"
        raise UnusableInputError(msg) from error
    pictures = personal_pictures(portrait)
    write_pictures(out, pictures, ours=NAMES)
    return write_page(out / PAGE, personal_page(portrait, pictures, out))
