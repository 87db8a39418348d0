# A world on a web page, for a server with a GPU driver (docker run --gpus all) or without one:
#   docker build -t worldsim .
#   docker run --gpus all -p 8765:8765 -e WORLDSIM_TOKEN=... worldsim
# Then open http://SERVER:8765/#token=... Words after the image's name are settings of `worldsim play`.
FROM python:3.12-slim

WORKDIR /opt/worldsim
COPY . .
# PyTorch's default build brings CUDA along; constraints.txt has the versions that the tests pass with.
RUN pip install --no-cache-dir -c constraints.txt '.[serve]' \
    && useradd --create-home player \
    && mkdir /played && chown player /played

USER player
# What is kept (runs/) goes here: mount a volume on it.
WORKDIR /played
ENV PYTHONUNBUFFERED=1
EXPOSE 8765
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/health', timeout=5)"]
# SIGTERM of `docker stop` ends the server, which keeps what was played.
STOPSIGNAL SIGTERM
ENTRYPOINT ["worldsim", "play", "serve=true", "serving.host=0.0.0.0", "serving.port=8765"]
