#!/usr/bin/env python3
"""Takes pictures of pages by a headless Chromium, beside them: NAME-1280-light.png, -dark, NAME-390-..., NAME.pdf.

usage: shoot.py CHROMIUM FILE.html ...

Fails if a page asks for anything but itself, or is wider than the screen.
"""
import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile

WIDTHS = {1280: False, 390: True}  # of the screen, and whether it is a phone's


class Chromium:
    """A browser that is spoken to through a pair of pipes (DevTools protocol)."""

    def __init__(self, program, profile):
        there_read, self.out = os.pipe()
        self.back, there_write = os.pipe()

        def pipes():  # the browser reads its descriptor 3 and writes 4
            os.dup2(there_read, 13)
            os.dup2(there_write, 14)
            os.dup2(13, 3)
            os.dup2(14, 4)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={profile}"],
            preexec_fn=pipes, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(there_read)
        os.close(there_write)
        self.number, self.rest, self.session, self.events = 0, b"", None, []

    def receive(self):
        while b"\0" not in self.rest:
            more = os.read(self.back, 1 << 20)
            if not more:
                raise SystemExit("shoot.py: the browser has ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"shoot.py: {method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, event):
        while True:
            for i, seen in enumerate(self.events):
                if seen.get("method") == event:
                    return self.events.pop(i)
            self.events.append(self.receive())


def shoot(browser, page):
    for width, phone in WIDTHS.items():
        for scheme in ("light", "dark"):
            browser.call("Emulation.setDeviceMetricsOverride", width=width, height=844 if phone else 800, deviceScaleFactor=2 if phone else 1, mobile=phone)
            browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            browser.events.clear()
            browser.call("Page.navigate", url=page.as_uri())
            browser.wait("Page.loadEventFired")
            asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
            foreign = [u for u in asked if u != page.as_uri() and not u.startswith("data:")]
            if foreign:
                raise SystemExit(f"shoot.py: {page.name} asks for {foreign}")
            size = browser.call("Page.getLayoutMetrics")["cssContentSize"]
            if size["width"] > width:
                raise SystemExit(f"shoot.py: {page.name} is {size['width']} wide on a screen of {width}")
            clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1}
            shot = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
            page.with_name(f"{page.stem}-{width}-{scheme}.png").write_bytes(base64.b64decode(shot["data"]))
    browser.call("Emulation.clearDeviceMetricsOverride")
    pdf = browser.call("Page.printToPDF", printBackground=True, preferCSSPageSize=False, paperWidth=8.27, paperHeight=11.69)
    page.with_suffix(".pdf").write_bytes(base64.b64decode(pdf["data"]))


def main():
    program, pages = sys.argv[1], [pathlib.Path(p).resolve() for p in sys.argv[2:]]
    with tempfile.TemporaryDirectory(prefix="outgrow-chromium.", ignore_cleanup_errors=True) as profile:
        browser = Chromium(program, profile)
        try:
            target = browser.call("Target.createTarget", url="about:blank")["targetId"]
            browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            browser.call("Page.enable")
            browser.call("Network.enable")
            for page in pages:
                shoot(browser, page)
                print(f"{page.with_suffix('')}: pictures of {', '.join(map(str, WIDTHS))} pixels, light and dark, and a PDF")
        finally:
            browser.process.terminate()
            browser.process.wait()


main()
