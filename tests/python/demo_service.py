# SPDX-License-Identifier: GPL-2.0-or-later
"""A small service in Python that grows: what it remembers of its sessions is never forgotten."""
import json
import time


class Session:
    def __init__(self, user, page):
        self.user = user
        self.history = [page]


class SessionStore:
    def __init__(self):
        self.sessions = {}

    def remember(self, token, user, page):
        self.sessions[token] = Session(user, page)


def render(page):
    return json.dumps({"page": page, "links": ["/%d" % i for i in range(20)]})


def serve(store):
    number = 0
    while True:
        for _ in range(20):
            number += 1
            store.remember("token-%d" % number, "user-%d" % (number % 500), render(number))
        time.sleep(0.05)


serve(SessionStore())
