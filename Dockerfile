# A world on a web page, on a server with a GPU or without one (docs/guides/playing.md, "In the browser"):
#   docker build -t worldsim .
#   docker run -p 8765:8765 -e WORLDSIM_TOKEN=$(openssl rand -hex 16) -v played:/played worldsim
# prints the address with the token; open the server's own name there instead of the container's. Without WORLDSIM_TOKEN
# (16 characters or more) a token is drawn at each start. With --gpus all it plays on the GPU. Words after the image's
# name are settings of `worldsim play`. For another port change the first number of -p: the image listens on 8765.
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
