"""Mail: a quarter is spam, whose true probability follows from all parts of a mail."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from generated import blocks, make
from keyfold.generators import mail


@pytest.fixture(scope="module")
def rows():
    return blocks(make("mail"), range(8)).to_pandas()


@pytest.fixture(scope="module")
def labelled(rows):
    return rows[rows.spam.notna()].astype({"spam": bool})


def test_a_quarter_is_spam_and_only_the_last_day_is_unknown(rows):
    assert 0.22 < rows.true_probability.mean() < 0.28
    assert (rows.spam.isna() == (rows.received_at.dt.date.astype(str) == "2026-10-31")).all()


def test_the_true_probability_is_calibrated_in_every_group(labelled):
    p = labelled.true_probability
    for by in (
        labelled.domain,
        labelled.known_sender,
        labelled.received_at.dt.hour,
        labelled.attachment.fillna(""),
        np.round(p, 1),
    ):
        sums, variance = (labelled.spam - p).groupby(by).sum(), (p * (1 - p)).groupby(by).sum()
        assert (abs(sums) < 4 * np.sqrt(variance) + 2).all()


def test_all_parts_of_a_mail_together_say_almost_surely(labelled):
    assert roc_auc_score(labelled.spam, labelled.true_probability) > 0.995
    assert 0.003 < log_loss(labelled.spam, labelled.true_probability) < 0.03


def test_a_word_or_a_sender_gives_some_spam_away_but_not_all(labelled):
    said = labelled.body.str.contains(r"\b(?:winner|guaranteed|reward)\b")
    known = labelled.known_sender
    assert labelled.spam[said].mean() > 0.98 and 0.1 < said[labelled.spam].mean() < 0.7
    assert labelled.spam[known].mean() < 0.03 and 0.6 < known[~labelled.spam].mean() < 0.9


def test_only_attachments_have_texts(rows):
    assert (rows.attachment.isna() == rows.attachment_text.isna()).all()
    assert 0.2 < rows.attachment.notna().mean() < 0.4
    body, attached = (rows[name].dropna().str.split().str.len().mean() for name in ("body", "attachment_text"))
    assert 60 < body < 80 and attached > 200


def test_sorts_have_shares():
    assert abs(mail.SHARES.sum() - 1) < 1e-9 and len(mail.SORTS) == len(mail.FROM) == len(mail.ATTACHED)
    world = mail._world()
    assert np.allclose(world.shares.sum(axis=1), 1) and np.allclose(world.in_files.sum(axis=1), 1)
