"""Texts that are nearly values of a type: a fixed generator, and strategies."""

import random
import re

from hypothesis import strategies as st

BLANKS = ["", "", "", "", "", " ", "\t", "\x00", "\x7f", "\u00a0", "\u2028", "\u0085", "\n"]
ODD = ["", " ", "x", "-", "+", ".", "null", "NaN", "é", "😀", "٣", "\U0001d7d1", "\uff11\uff12", "1_000", "0x1p3", "0x1.8p-2f", "5d", "5F", "1e", "e5", "--1", "+-1", "1 2"]  # fmt: skip
SPECIAL = ["NaN", "nan", "+NaN", "-NaN", "+nan", "Infinity", "-infinity", "+INF", "inf", "-Inf", "infinit", "NaNd", "infd", "İnf"]
EXPONENTS = ["0", "1", "5", "9", "15", "22", "38", "39", "40", "99", "300", "308", "309", "323", "324", "325", "400", "0005", "0000000000000000007", "9999"]  # fmt: skip
ZONES = [
    "Z", "z", "+01:00", "-3", "+1:30", "+01:3", "+0130", "+01:00:30", "+013045", "+18:00", "+18:01", "-19", "UTC", "UTC+1", "GMT-03:30", "UT+5", "GMT0",
    "Europe/Berlin", "europe/berlin", "America/New_York", "Asia/Kolkata", "PST", "EST", "IST", " Europe/Paris", "CET", "Nowhere/City", "UTC+25", "GMT", "+", "+1:2:3",
    "Africa/Cairo", "Pacific/Apia", "Australia/Lord_Howe", ".5", ":30",
]  # fmt: skip
YEARS = ["2024", "2023", "1999", "1900", "1582", "1583", "1000", "0001", "0000", "9999", "10000", "123456", "294247", "300000", "-0044", "+2024", "24", "999", "1970", "1893", "1847", "1916", "2050"]  # fmt: skip


def number(r):
    """A number, perhaps with a sign, a mark, groups or an exponent."""
    if r.random() < 0.1:
        return r.choice(ODD + SPECIAL)
    size = r.choice([0, 1, 1, 2, 3, 3, 5, 9, 10, 11, 18, 19, 20, 28, 37, 38, 39, 60])
    digits = "".join(r.choices("0123456789" if r.random() < 0.7 else "09", k=size))
    if r.random() < 0.15 and size > 3:
        mark = r.choice(".,' _")
        digits = mark.join([digits[: size % 3 or 3], *(digits[i : i + 3] for i in range(size % 3 or 3, size, 3))])
    fraction = r.choice(["", "", ".", ",", "."]) and r.choice(".,") + "".join(
        r.choices("000123456789", k=r.choice([0, 1, 2, 2, 3, 4, 18, 40]))
    )
    exponent = r.choice("eE") + r.choice(["", "", "-", "+", "+-"]) + r.choice(EXPONENTS) if r.random() < 0.25 else ""
    edge = r.choice([127, 128, 32767, 32768, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**53 + 1]) if r.random() < 0.1 else None
    return r.choice(["", "", "", "-", "+"]) + (str(edge) if edge else digits + fraction + exponent)


def real(r):
    """A double near the ends of what doubles hold, or with many digits."""
    if r.random() < 0.6:
        return number(r)
    return r.choice(["", "-"]) + r.choice([
        repr(r.uniform(-1, 1) * 10.0 ** r.randint(-320, 308)), f"{r.random():.20f}", f"{r.randint(0, 10**17)}e{r.randint(-345, 300)}",
        "1.7976931348623157e308", "1.7976931348623159e308", "4.9e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "3.4028235e38",
        "3.4028236e38", "1.17549435e-38", "7.006492321624085e-46", "7.006492321624086e-46", "1.00000005960464477539", "16777217", "0.1e-9999", "0e400",
    ])  # fmt: skip


def flag(r):
    """A word that is nearly a boolean."""
    word = r.choice(
        ["t", "true", "y", "yes", "1", "f", "false", "n", "no", "0", "on", "off", "tru", "yess", "", "2", "\uff54rue", "10"]
    )
    return "".join(r.choice([c.upper(), c.lower(), c]) for c in word)


def day(r):
    """A date, with one or two digits."""
    if r.random() < 0.05:
        return r.choice(ODD)
    year = r.choice(YEARS) if r.random() < 0.5 else f"{r.randint(1, 9999):04}"
    month, of_month = (
        r.choice([f"{n}", f"{n:02}", f"{n:02}", f"{n:02}"])
        for n in (r.randint(0, 13), r.choice([0, 1, 5, 15, 28, 29, 30, 31, 32]))
    )
    return r.choice(
        [f"{year}-{month}-{of_month}"] * 9
        + [f"{year}-{month}", year, f"{year}/{month}/{of_month}", f"{year}{month}{of_month}", f"{year}-{month}-{of_month}T"]
    )


TRANSITIONS = [  # local days on which clocks change, somewhere
    "2024-03-31", "2024-10-27", "2024-11-03", "2024-03-10", "1893-04-01", "1916-04-30", "1945-05-24", "1847-12-01", "2011-12-30", "1978-10-22",
    "1883-11-18", "2050-03-27", "2100-10-31", "1980-04-06", "2024-04-07", "1995-01-01",
]  # fmt: skip


def time(r):
    """A time, perhaps with a fraction and a zone."""
    if r.random() < 0.07:
        return r.choice([*ODD, "12:30", "T12:30:05", "1:2:3.4Z", "12:30:05.1234567", "24:00", "T", "12:"])
    date = r.choice(TRANSITIONS) if r.random() < 0.3 else day(r)
    hour, minute, second = (
        r.choice([0, 1, 2, 2, 3, 11, 12, 23, 24]),
        r.choice([0, 0, 1, 30, 30, 59, 60]),
        r.choice([0, 0, 1, 8, 30, 59, 60]),
    )
    clock = r.choice(
        [f"{hour:02}:{minute:02}:{second:02}"] * 6
        + [f"{hour}:{minute}:{second}", f"{hour:02}:{minute:02}", f"{hour}", f"{hour:02}:{minute:02}:", f"{hour:02}-{minute:02}"]
    )
    fraction = (
        "." + "".join(r.choices("0123456789" if r.random() < 0.5 else "05", k=r.choice([0, 1, 2, 3, 3, 5, 6, 6, 7, 9, 12])))
        if r.random() < 0.4
        else ""
    )
    zone = r.choice(["", " "]) + r.choice(ZONES) if r.random() < 0.4 else ""
    return date if r.random() < 0.1 else date + r.choice(["T", " ", " ", " ", "  ", "t"]) + clock + fraction + zone


MONTHS = ["Jan", "february", "MAR", "Sept", "Sep", "\u017fep", "June", "May", "DECEMBER", "dec"]


def formed(form):
    """Texts of a form of Java's DateTimeFormatter, nearly."""
    parts = re.findall(r"y+|M+|d+|H+|h+|m+|s+|S+|a+|X+|x+|Z+|'[^']*'|[^A-Za-z']", form)
    ranges = {"M": (0, 13), "d": (0, 32), "H": (0, 24), "h": (0, 13), "m": (0, 60), "s": (0, 60)}

    def part_text(r, part):
        letter, odd = part[0], r.random() < 0.03
        if letter == "y":
            return (
                r.choice(YEARS)
                if r.random() < 0.3
                else f"{r.randint(1900, 2100) % (100 if part == 'yy' else 10000):0{len(part)}}"
            )
        if part in ("MMM", "MMMM"):
            return r.choice(MONTHS)
        if letter in ranges:
            low, high = ranges[letter]
            n = r.randint(low, high) if r.random() < 0.1 else r.randint(max(low, 1), min(high - 1, 28))
            return r.choice(["-", "+", "0", " "]) + str(n) if odd else f"{n:0{len(part) if r.random() < 0.95 else 3 - len(part)}}"
        if letter == "S":
            return "".join(r.choices("0123456789", k=len(part) if r.random() < 0.8 else r.randint(0, 9)))
        if letter == "a":
            return r.choice(["AM", "PM", "am", "Pm", "a.m."])
        if letter in "XxZ":
            return r.choice([*ZONES[:14], "+0200", "-0330", "+02:00", "+02", "Z", "+0000", "+00", "+00:00", "+0030"])
        return part.strip("'").swapcase() if odd else part.strip("'")

    return lambda r: r.choice(ODD) if r.random() < 0.03 else "".join(part_text(r, part) for part in parts)


def texts(kind, n, seed):
    """Texts of a kind, some with blanks around, some changed in one place, some NULL."""
    r = random.Random(seed)

    def one():
        if r.random() < 0.02:
            return None
        text = kind(r)
        if text and r.random() < 0.03:
            at = r.randrange(len(text))
            text = text[:at] + r.choice(["", "0", "9", "-", " ", ":", "T", ".", "e", "٣", "Z"]) + text[at + 1 :]
        return r.choice(BLANKS) + text + r.choice(BLANKS) if r.random() < 0.2 else text

    return [one() for _ in range(n)]


DRAWN_NUMBERS = (
    st.from_regex(r"\A[+-]?[0-9]{0,40}([.,][0-9]{0,40})?([eE][+-]?[0-9]{1,4})?\Z")
    | st.floats().map(repr)
    | st.decimals().map(str)
    | st.text(max_size=5)
)
_CLOCK = r"[ T][0-9]{1,2}(:[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]{0,9})?(Z|[+-][0-9:]{1,8})?)?)?"
DRAWN_TIMES = (
    st.from_regex(rf"\A[+-]?[0-9]{{4,6}}-[0-9]{{1,2}}-[0-9]{{1,2}}({_CLOCK})?\Z") | st.datetimes().map(str)
    | st.datetimes().map(lambda at: f"{at:%d.%m.%Y %H:%M:%S}") | st.text("0123456789-: T.Z", max_size=30)
)  # fmt: skip
