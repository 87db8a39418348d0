"""A GIF of a video, for pages that cannot show videos.

``python -m docs.tools.film VIDEO GIF [SECONDS] [WIDTH] [ROWS]``; ROWS is the share of the height that is kept, from the
top: .5 leaves the difference and what memory covers out of a video of ``worldsim play engine=both``.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from worldsim.plotting.pictures import save_gif

if TYPE_CHECKING:
    from PIL.Image import Image

# Frames a second of a GIF; browsers keep to it from 10 hundredths of a second on.
RATE = 10


def write_gif(video: Path, gif: Path, seconds: float = 4, width: int = 432, rows: float = 1.0) -> int:
    """The first ``seconds`` of a video, its upper rows, as a GIF of a width in pixels; how many frames it has."""
    import av

    pictures: list[Image] = []
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or RATE)
        for number, frame in enumerate(container.decode(stream)):
            if number >= seconds * rate:
                break
            if int(number * RATE / rate) == len(pictures):
                picture = frame.to_image()
                picture = picture.crop((0, 0, picture.width, round(picture.height * rows)))
                pictures.append(picture.resize((width, round(picture.height * width / picture.width))))
    if not pictures:
        raise ValueError(f"{video} has no frames")
    save_gif(gif, pictures, RATE)
    return len(pictures)


if __name__ == "__main__":
    numbers = (convert(given) for convert, given in zip((float, int, float), sys.argv[3:6], strict=False))
    write_gif(Path(sys.argv[1]), Path(sys.argv[2]), *numbers)
