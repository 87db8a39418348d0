"""A GIF of a video, for pages that cannot show videos: ``python -m docs.tools.film VIDEO GIF [SECONDS] [WIDTH]``."""

import sys
from pathlib import Path

# Frames a second of a GIF; browsers keep to it from 10 hundredths of a second on.
RATE = 10


def write_gif(video: Path, gif: Path, seconds: float = 4, width: int = 432) -> int:
    """The first ``seconds`` of a video as a GIF of a width in pixels; how many frames it has."""
    import av
    from PIL import Image

    pictures: list[Image.Image] = []
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or RATE)
        for number, frame in enumerate(container.decode(stream)):
            if number >= seconds * rate:
                break
            if int(number * RATE / rate) == len(pictures):
                picture = frame.to_image()
                pictures.append(picture.resize((width, round(picture.height * width / picture.width))))
    if not pictures:
        raise ValueError(f"{video} has no frames")
    reduced = [picture.quantize(64) for picture in pictures]
    reduced[0].save(gif, save_all=True, append_images=reduced[1:], duration=1000 // RATE, loop=0, optimize=True)
    return len(reduced)


if __name__ == "__main__":
    write_gif(Path(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:4]), *map(int, sys.argv[4:5]))
