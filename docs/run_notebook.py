"""Run the notebooks and keep their outputs, small enough to be read on the web.

python docs/run_notebook.py runs them for some minutes. Pictures get a palette, progress bars are off.
"""

import base64
import os
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def main() -> None:
    """Run each notebook in a folder of its own and write it back."""
    os.environ["TQDM_DISABLE"] = "1"
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with TemporaryDirectory() as folder:
            NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": folder}}).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    output["data"]["image/png"] = _shrink(output["data"]["image/png"])
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)


def _shrink(picture: str) -> str:
    """Return a PNG, as base64, with a palette of 64 colours that covers them all, those of thin text too."""
    buffer = BytesIO()
    image = Image.open(BytesIO(base64.b64decode(picture))).convert("RGB")
    few = image.quantize(64, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few.save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
