"""Reads HTML in tests of pages, and checks that it is well formed."""

from html.parser import HTMLParser

from keyfold.evaluation.intervals import Metric

NASTY = """<script>alert("x")</script> $\\alpha$ & 'q' $"""
VOID = {"meta", "link", "input"}


class Reader(HTMLParser):
    """Collects tags, ids and text; fails on tags that are not closed in their order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.words = [], [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open += [] if tag in VOID else [tag]
        for name, value in attrs:
            self.ids += [value] if name == "id" else []
            self.links += [value] if name in {"href", "src", "xlink:href"} else []

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def some_metrics(value=0.8421, low=0.8311, high=0.8529):
    return {"roc_auc": Metric(value, low, high), "log_loss": Metric(0.3, 0.2, 0.4)}
