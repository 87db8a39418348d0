"""The play window's world on a web page: a server, and the page."""
