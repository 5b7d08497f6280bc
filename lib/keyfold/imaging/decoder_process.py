"""Decodes images in a child process, so that a malicious image cannot harm the job.

The parent sends a request and an image over a socket; the child answers JSON, and bytes if requested. Nothing is unpickled.
"""

import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from pydantic import Field

from keyfold.core.section import Section
from keyfold.imaging import pixels
from keyfold.imaging.operations import Operation, Output


class DecoderOptions(Section):
    """The options of a decoder: limits, operations and output."""

    formats: list[str]
    max_pixels: int
    operations: list[Operation] = Field(default_factory=list)
    output: Output = Output()
    memory_mb: int
    seconds: float


class DecodedImage(NamedTuple):
    """The outcome of an image: facts, and the bytes of the new file."""

    facts: dict[str, Any]
    file: bytes = b""


class Decoder:
    """The parent's side. The child starts with the first request, and again after an image that killed it."""

    def __init__(self, options: DecoderOptions) -> None:
        self.options = options
        self.patience = 60 + 20 * options.seconds  # wall-clock seconds, for a child that hangs
        self._child: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None

    def size(self, cell: bytes | str) -> DecodedImage:
        """The number of `pixels` (int) by the header of an image, or the `reason` of a failure."""
        return self._request("size", "", cell)

    def made(self, cell: bytes | str, into: str = "") -> DecodedImage:
        """`width`, `height`, `bytes` (int) and `sha256` of the new file, or the `reason` of a failure.

        The file is written `into` a path, or returned if that is empty. `note` names a part of the image that was ignored.
        """
        return self._request("made", into, cell)

    def close(self) -> None:
        """Ends the child."""
        if self._line:
            self._line.close()
        if self._child:
            self._child.kill()
            self._child.wait()
        self._child = self._line = None

    def _request(self, what: str, into: str, cell: bytes | str) -> DecodedImage:
        try:
            line = self._line or self._begin()
            line.send_bytes(json.dumps([what, into, cell if isinstance(cell, str) else None]).encode())
            if isinstance(cell, bytes):
                line.send_bytes(cell)
            if not line.poll(self.patience):
                self.close()
                return DecodedImage({"reason": f"the decoder gave no answer within {self.patience:g} seconds"})
            facts = json.loads(line.recv_bytes())
            return DecodedImage(facts, line.recv_bytes() if facts.pop("follows", False) else b"")
        except ValueError:  # a malformed answer: the image may have taken over the child
            self.close()
            return DecodedImage({"reason": "the decoder's answer is invalid"})
        except (EOFError, OSError):
            return DecodedImage({"reason": self._exit_reason()})

    def _begin(self) -> Connection:
        ours, theirs = socket.socketpair()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-c", "from keyfold.imaging.decoder_process import serve; serve()", str(theirs.fileno())]
        self._child = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._line = Connection(ours.detach())
        self._line.send_bytes(self.options.model_dump_json().encode())
        return self._line

    def _exit_reason(self) -> str:
        code = self._child.wait(timeout=5) if self._child else 0
        self.close()
        if code == -signal.SIGPROF:
            return f"it takes more than {self.options.seconds:g} seconds of processor time"
        return f"the decoder crashed on it ({signal.Signals(-code).name if code < 0 else f'code {code}'})"


_idle: list[Decoder] = []  # decoders of this process that no thread uses
_lock = Lock()


@contextmanager
def decoder_of(options: DecoderOptions) -> Iterator[Decoder]:
    """A decoder for one thread. Afterwards it is kept for the next user of these options."""
    with _lock:
        same = next((decoder for decoder in _idle if decoder.options == options), None)
        if same:
            _idle.remove(same)
    if not same:
        close_idle_decoders()
    decoder = same or Decoder(options)
    try:
        yield decoder
    finally:
        with _lock:
            _idle.append(decoder)


def close_idle_decoders() -> None:
    """Ends the processes of the decoders of this process that no thread uses."""
    with _lock:
        while _idle:
            _idle.pop().close()


def serve() -> None:
    """Runs in the child: answers requests until the parent closes the socket."""
    line = Connection(int(sys.argv[1]))
    opening = DecoderOptions.model_validate_json(line.recv_bytes())
    _limit(opening.memory_mb * 2**20)
    while True:
        try:
            what, into, path = json.loads(line.recv_bytes())
            cell = line.recv_bytes() if path is None else path
        except EOFError:
            return
        # The kernel ends the process once it has used this much processor time from now on.
        signal.setitimer(signal.ITIMER_PROF, opening.seconds)
        facts, file = _decode(opening, what, cell, into)
        signal.setitimer(signal.ITIMER_PROF, 0)
        line.send_bytes(json.dumps(facts | {"follows": bool(file)}).encode())
        if file:
            line.send_bytes(file)


def _limit(memory: int) -> None:
    import PIL.ImageCms
    import PIL.ImageOps

    PIL.Image.init()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 0
    resource.setrlimit(resource.RLIMIT_AS, (used + memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decode(opening: DecoderOptions, what: str, cell: bytes | str, into: str) -> DecodedImage:
    try:
        with pixels.open_image(cell, opening.formats, opening.max_pixels) as image:
            if what == "size":
                return DecodedImage({"pixels": image.width * image.height})
            frames = list(_frames(opening, image))
            note = (
                {"note": "its EXIF block is damaged, so the image is treated as upright"} if pixels.DAMAGED in image.info else {}
            )
            file = opening.output.encoded(frames, image)
    except pixels.UnusableError as error:
        return DecodedImage({"reason": str(error)})
    size = {"width": frames[0].width, "height": frames[0].height, "bytes": len(file)}
    facts = size | {"sha256": hashlib.sha256(file).hexdigest()} | note
    if not into:
        return DecodedImage(facts, file)
    write_atomically(file, Path(into))
    return DecodedImage(facts)


def _frames(opening: DecoderOptions, image: Any) -> Any:
    every = range(getattr(image, "n_frames", 1)) if opening.output.frames == "all" else [0]
    if len(every) * image.width * image.height > opening.max_pixels:
        raise pixels.UnusableError(f"its {len(every)} frames have more pixels than `max_pixels`, {opening.max_pixels:,}")
    for number in every:
        image.seek(number)
        frame = pixels.normalised(image.copy() if len(every) > 1 else image)
        for operation in opening.operations:
            frame = operation.apply(frame)
        yield frame


def write_atomically(file: bytes, path: Path) -> None:
    """Writes a file that is either complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(file)
    temporary.replace(path)
