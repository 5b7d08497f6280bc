r"""The articles of Reuters-21578 as one JSON line each, with the columns of the generator `news`.

    python tests/reuters.py FOLDER reuters.jsonl
    ./spark-submit.sh pipeline conf/news.yaml --set data.source=reuters.jsonl --set data.period=all --set label.min_frequency=20 \
        --set 'split.allow=[text]' --set report.slices=[] --set \
        'data.columns={article_id: bigint, published_at: timestamp, agency: string, text: string, topics: string}'

FOLDER has the collection's files `reut2-*.sgm`, or with `.gz`. Articles without the attribute TOPICS="YES" have no topics that one could
learn (`topics` is null); of the others, some have none (an empty text).
"""

import gzip
import html
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

ARTICLE = re.compile(r"<REUTERS ([^>]*)>(.*?)</REUTERS>", re.DOTALL)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")


def articles(folder: Path) -> Iterator[dict[str, object]]:
    r"""The articles of all files, in the order of their names."""
    for path in sorted(folder.glob("reut2-*.sgm*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for head, body in ARTICLE.findall(data.decode("latin-1")):
            yield _article(dict(re.findall(r'(\w+)="([^"]*)"', head)), body)


def _article(attributes: dict[str, str], body: str) -> dict[str, object]:
    topics = re.findall(r"<D>([^<]*)</D>", _inner("TOPICS", body))
    title, text = (CONTROL.sub(" ", html.unescape(_inner(tag, body))).strip() for tag in ("TITLE", "BODY"))
    # Some have no body, and their text is all that is between the tags.
    whole = text or CONTROL.sub(" ", html.unescape(re.sub(r"<[^>]*>", " ", _inner("TEXT", body))))
    return {
        "article_id": int(attributes["NEWID"]),
        "published_at": _time(_inner("DATE", body)),
        "agency": "Reuters",
        "text": f"{title}\n{whole}".strip(),
        "topics": ",".join(topics) if attributes["TOPICS"] == "YES" else None,
    }


def _inner(tag: str, body: str) -> str:
    found = re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", body, re.DOTALL)
    return found.group(1) if found else ""


def _time(text: str) -> str:
    found = re.search(r"(\d+-[A-Z]+-\d{4})\s+(\d\d:\d\d:\d\d)", text)
    assert found, text
    return datetime.strptime(" ".join(found.groups()), "%d-%b-%Y %H:%M:%S").replace(tzinfo=UTC).isoformat()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(article, ensure_ascii=False) + "\n" for article in articles(Path(sys.argv[1])))
