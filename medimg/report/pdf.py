"""The report as PDF, by what the machine has: Chromium, or WeasyPrint."""

import os
import shutil
import subprocess
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.lock import scratch

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 120


def printed(page: Path) -> Path:
    """Print a page beside itself.

    Args:
        page: report.html.

    Returns:
        report.pdf.

    Raises:
        InputError: there is neither, or it fails.
    """
    out = page.with_suffix(".pdf")
    browser = next((path for path in map(shutil.which, _BROWSERS) if path), None)
    weasyprint = shutil.which("weasyprint")
    if not browser and not weasyprint:
        raise InputError(f"--pdf: neither Chromium nor WeasyPrint is installed; print {page} from a browser")
    with atomic.replacing(out) as temporary, scratch("pdf") as profile:
        # A browser writes no file of another name than .pdf.
        pdf = profile / "report.pdf"
        words = [weasyprint, str(page), str(pdf)]
        if browser:
            # Chromium's sandbox does not start for root; the page is our own and has no script.
            words = [browser, "--headless", "--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
            words += [f"--user-data-dir={profile}/profile"]
            words += ["--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.resolve().as_uri()]
        try:
            process = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"--pdf: {words[0]} took more than {_SECONDS} s; print {page} from a browser") from error
        if process.returncode or not pdf.is_file():
            last = (process.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"--pdf: {words[0]} failed ({last}); print {page} from a browser")
        shutil.copyfile(pdf, temporary)
    return out
