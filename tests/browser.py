"""A headless Chromium over the pipe of its DevTools protocol, for tests of pages."""

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")


@contextmanager
def browser():
    """A `Tab` of a browser that is closed afterwards."""
    ours, theirs = os.pipe(), os.pipe()  # to the browser, from the browser
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:

        def descriptors():  # the protocol is read from 3 and written to 4
            read, write = os.dup(ours[0]), os.dup(theirs[1])
            os.dup2(read, 3)
            os.dup2(write, 4)

        process = subprocess.Popen(
            [CHROMIUM, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=descriptors,  # noqa: PLW1509
            close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield Tab(os.fdopen(ours[1], "wb", 0), os.fdopen(theirs[0], "rb"))
        finally:
            process.terminate()
            process.wait(10)
            os.close(ours[0])
            os.close(theirs[1])


class Tab:
    """One page; `events` are those of the protocol, in order."""

    def __init__(self, to_browser, from_browser):
        self.to_browser, self.from_browser, self.events, self.number, self.session = to_browser, from_browser, [], 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """The result of a method of the protocol."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        self.to_browser.write(json.dumps(message).encode() + b"\0")
        while "id" not in (answer := self._next()) or answer["id"] != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        text = bytearray()
        while (byte := self.from_browser.read(1)) != b"\0":
            assert byte, "the browser ended"
            text += byte
        return json.loads(text)

    def open(self, path, width=1280):
        """Loads a file at a width in pixels."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def point_at(self, x, y):
        """Moves the pointer to a place in the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def complaints(self):
        """Errors of scripts, blocked content and dialogs since the page was opened."""
        bad = ("Runtime.exceptionThrown", "Page.javascriptDialogOpening", "Log.entryAdded")
        return [event for event in self.events if event["method"] in bad]
