#!/usr/bin/env python3
"""Asks two Open WebUI servers the same questions as the same people and compares the answers.

    compare.py --source DIR --one URL DATA_DIR --other URL DATA_DIR [--uploads PLACE] [--password P] [--least 200] [--since SECONDS]

DIR is a copy of the data folder whose rows say what to ask (catalogue.py). Every answer is compared whole: status, content
type, and JSON values or bytes. Exits 1 on any difference, or when fewer than --least GET requests were answered with 200.

What is not compared literally, all of it counted and printed:
- the DATA_DIR prefix of paths, which is each server's own; with --uploads, what file.path of the other server begins with
  instead of DATA_DIR/uploads/, as s3://bucket/;
- what the servers themselves made since --since in the fields of VOLATILE, each with its reason;
- the order of lists named in UNORDERED (the application asks the database for no order), and of neighbours in a list that
  have the same value in the field it is sorted by.
"""
import argparse
import concurrent.futures
import difflib
import json
import math
import re
import sys
import time
import urllib.error
import urllib.request

import catalogue

# (request path, place in the answer, reason). Both are regular expressions that must match fully. A number is left out
# only when it is a time since --since, before which no server ran: what was stored earlier is compared.
VOLATILE = [
    ("/api/v1/auths/", r"\.(token|expires_at)", "a session is signed with the second it was made in"),
    ("/api/v1/(users/.*|evaluations/feedbacks/.*)", r".*\.last_active_at", "each server notes the requests made to it"),
    ("/api/v1/calendars/", r"\[\]\.(created|updated)_at", "the calendar of scheduled tasks is made up at each read"),
]

# (request path, place of the list in the answer, reason)
UNORDERED = [
    ("/api/v1/users/all", r"\.users", "sorted by a time that several users share and the answer does not show"),
    ("/api/v1/skills/export", "", "sorted by a time that several skills share and the answer does not show"),
    ("/api/v1/channels/(list)?", "", "no order is asked for"),
    ("/api/v1/channels/[^/]+/members", r"\.users", "no order is asked for"),
    ("/api/v1/groups/id/[^/]+/export", r"\.user_ids", "no order is asked for"),
    ("/api/v1/chats/all/tags", "", "no order is asked for"),
    ("/api/models", r"\.data", "the models of the database come in no order"),
    (".*", r".*\.access_grants", "no order is asked for"),
]

# What lists are sorted by; analytics sorts by count.
SORTED_BY = ("updated_at", "created_at", "timestamp", "count")

# A request that fails is made again: Open WebUI gives the rule of an automation a limited time on a busy machine.
ATTEMPTS = 3


class Server:
    def __init__(self, url, data_dir, uploads=""):
        self.url, self.tokens = url.rstrip("/"), {}
        root = data_dir.rstrip("/") + "/"
        # Where the files are with a provider, a path below DATA_DIR/uploads is a wrong one.
        self.prefixes = [(root + "uploads/", "(not with the provider) ")] if uploads else []
        self.prefixes += [(root, "DATA_DIR/"), *([(uploads, "DATA_DIR/uploads/")] if uploads else [])]

    def ask(self, email, path, body=None, method=None, form=None):
        """Returns (status, content type, bytes). body is sent as JSON; form is (content type, bytes) instead."""
        headers = {"Authorization": f"Bearer {self.tokens[email]}"} if email else {}
        data = None
        if body is not None:
            form = "application/json", json.dumps(body).encode()
        if form is not None:
            headers["Content-Type"], data = form
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.headers.get_content_type(), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get_content_type(), error.read()

    def sign_in(self, email, password):
        status, _, body = self.ask("", "/api/v1/auths/signin", {"email": email, "password": password})
        if status != 200:
            raise SystemExit(f"signing in to {self.url} as {email}: {status} {body[:200]!r}")
        self.tokens[email] = json.loads(body)["token"]


def text(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


class Comparison:
    def __init__(self, since):
        self.counts = {"prefixes of paths normalised": 0, "volatile fields left out": 0,
                       "lists compared as sets": 0, "lists with ties in another order": 0}
        self.used = set()
        self.since = since

    def normal(self, request, value, server, place=""):
        """The answer without what each server has of its own."""
        for rule in VOLATILE:
            if re.fullmatch(rule[0], request) and re.fullmatch(rule[1], place) and self.is_new(value):
                self.counts["volatile fields left out"] += 1
                self.used.add(rule)
                return "volatile"
        if isinstance(value, dict):
            return {k: self.normal(request, v, server, f"{place}.{k}") for k, v in value.items()}
        if isinstance(value, list):
            values = [self.normal(request, v, server, f"{place}[]") for v in value]
            return self.as_set(request, place, values)
        if isinstance(value, str):
            for prefix, plain in server.prefixes:
                if value.startswith(prefix):
                    self.counts["prefixes of paths normalised"] += 1
                    return plain + value[len(prefix):]
        return value

    def as_set(self, request, place, values):
        """The list in an order of its own if the application gives it none."""
        for rule in UNORDERED:
            if len(values) > 1 and re.fullmatch(rule[0], request) and re.fullmatch(rule[1], place):
                self.counts["lists compared as sets"] += 1
                self.used.add(rule)
                return sorted(values, key=text)
        return values

    def is_new(self, value):
        """Whether a server of this comparison may have made a value: a text, or a time in s or ns not before since."""
        return isinstance(value, str) or (isinstance(value, int) and value >= self.since)

    def same(self, request, one, other, place=""):
        """Yields (place, one, other) of every difference."""
        if isinstance(one, dict) and isinstance(other, dict):
            for key in sorted(one.keys() | other.keys()):
                if key not in one or key not in other:
                    yield f"{place}.{key}", one.get(key, "(absent)"), other.get(key, "(absent)")
                else:
                    yield from self.same(request, one[key], other[key], f"{place}.{key}")
        elif isinstance(one, list) and isinstance(other, list):
            if one == other:
                return
            if sorted(map(text, one)) == sorted(map(text, other)):
                if self.tied(one, other):
                    return
                yield f"{place} (order)", [brief(v) for v in one], [brief(v) for v in other]
            elif len(one) != len(other):
                mine, theirs = set(map(text, one)), set(map(text, other))
                yield (f"{place} (length {len(one)} and {len(other)})", [v for v in one if text(v) not in theirs],
                       [v for v in other if text(v) not in mine])
            else:
                for i, (a, b) in enumerate(zip(one, other)):
                    yield from self.same(request, a, b, f"{place}[{i}]")
        elif text(one) != text(other):
            yield place, one, other

    def tied(self, one, other):
        """Whether two orders of the same values are both sorted by one of the fields that lists are sorted by."""
        for key in SORTED_BY:
            if all(isinstance(v, dict) and v.get(key) is not None for v in one):
                values = [v[key] for v in one]
                if values == [v[key] for v in other] and values in (sorted(values), sorted(values, reverse=True)):
                    self.counts["lists with ties in another order"] += 1
                    return True
        return False


def brief(value):
    return value.get("id", value) if isinstance(value, dict) else value


def show(one, other):
    lines = [json.dumps(v, ensure_ascii=False, indent=1, sort_keys=True).splitlines() for v in (one, other)]
    diff = list(difflib.unified_diff(*lines, "one", "other", lineterm="", n=1))[2:]
    return "\n".join("    " + line[:200] for line in diff[:12])


def differences(comparison, path, answers, servers):
    """The differences between two answers to the same request."""
    (status, kind, body), (status2, kind2, body2) = answers
    if status != status2:
        return [("status", [status, body[:300].decode(errors="replace")], [status2, body2[:300].decode(errors="replace")])]
    if kind != kind2:
        return [("content type", kind, kind2)]
    if kind != "application/json":
        return [] if body == body2 else [("bytes", f"{len(body)} bytes", f"{len(body2)} bytes")]
    values = [comparison.normal(path, json.loads(b), s) for b, s in zip((body, body2), servers)]
    return list(comparison.same(path, *values))


def retrieval(servers, email, bases):
    """One query over every knowledge base: the same chunks in the same order, distances equal to single precision."""
    body = {"collection_names": bases, "query": "migration database", "k": 3}
    answers = [s.ask(email, "/api/v1/retrieval/query/collection", body) for s in servers]
    if [a[0] for a in answers] != [200, 200]:
        return [("status", *[(a[0], a[2][:300].decode(errors="replace")) for a in answers])], 0
    one, other = (json.loads(a[2]) for a in answers)
    found = []
    for key in ("documents", "metadatas"):
        if text(one[key]) != text(other[key]):
            found.append((key, one[key], other[key]))
    flat, flat2 = ([d for row in answer["distances"] for d in row] for answer in (one, other))
    if len(flat) != len(flat2) or not all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(flat, flat2)):
        found.append(("distances", flat, flat2))
    return found, len(flat)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, metavar="DIR")
    for side in ("--one", "--other"):
        parser.add_argument(side, required=True, nargs=2, metavar=("URL", "DATA_DIR"))
    parser.add_argument("--uploads", default="", metavar="PLACE", help="what file.path of the other server begins with, when that is not DATA_DIR")
    parser.add_argument("--password", default="Passw0rd!", help="of every user (test data)")
    parser.add_argument("--least", type=int, default=200)
    parser.add_argument("--since", type=int, default=int(time.time()), metavar="SECONDS", help="when the first server was started")
    options = parser.parse_args()
    source = catalogue.Source(options.source)
    servers = [Server(*options.one), Server(*options.other, options.uploads)]
    users = source.users()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        def both(call):
            return list(pool.map(call, servers))
        for _, email, _ in users:
            both(lambda s: s.sign_in(email, options.password))
        comparison, statuses, failed = Comparison(options.since), {}, 0
        for email, path in catalogue.requests(source):
            for _ in range(ATTEMPTS):
                answers = both(lambda s: s.ask(email, path))
                status = answers[0][0]
                if status == answers[1][0] == 200:
                    break
            statuses.setdefault(status, []).append(path)
            found = differences(comparison, path, answers, servers)
            failed += bool(found)
            for place, one, other in found[:3]:
                print(f"DIFFERENT GET {path} as {email or 'nobody'}: {place}\n{show(one, other)}")
        bases = catalogue.knowledge_bases(source)
        found, hits = retrieval(servers, users[0][1], bases)
        for place, one, other in found:
            print(f"DIFFERENT retrieval query: {place}\n{show(one, other)}")

    good = len(statuses.get(200, []))
    admins = sum(role == "admin" for _, _, role in users)
    print(f"users: {len(users)} signed in ({admins} administrators)")
    print(f"GET requests: {sum(map(len, statuses.values()))} compared, {good} answered with 200, {failed} different")
    for status in sorted(set(statuses) - {200}):
        print(f"  {len(statuses[status])} answered with {status} by both, for example {statuses[status][0]}")
    print(f"retrieval query over {len(bases)} knowledge bases: {hits} hits, {'different' if found else 'equal'}")
    print("not compared literally: " + ", ".join(f"{n} {what}" for what, n in comparison.counts.items()))
    for rule in VOLATILE + UNORDERED:
        if rule in comparison.used:
            print(f"  {rule[1]} of {rule[0]}: {rule[2]}")
    if good < options.least:
        print(f"too few answers: {good} of at least {options.least}")
    if not hits:
        print("the retrieval query found nothing")
    sys.exit(1 if failed or found or not hits or good < options.least else 0)


if __name__ == "__main__":
    main()
