# SPDX-License-Identifier: GPL-2.0-or-later
"""A JSON service of the standard library: services_json.py KEPT

Prints the port of 127.0.0.1 that it listens at. Parses what it is sent, counts it, and sends it back. Of KEPT requests
a second it remembers the document for ever.
"""
import http.server
import itertools
import json
import sys
import time

KEPT_PER_S = float(sys.argv[1])
STORE = []
COUNT = itertools.count(1)
BEGAN = time.monotonic()


def parse(text):
    document = json.loads(text)
    if len(STORE) < KEPT_PER_S * (time.monotonic() - BEGAN):
        STORE.append(document)
    return document


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer goes out as one

    def do_POST(self):
        document = parse(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"count": next(COUNT), "document": document}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
