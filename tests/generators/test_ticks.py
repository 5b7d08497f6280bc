"""Ticks: every state of the book, and a move that is a function of the state."""

from keyfold.generators import GENERATORS
from keyfold.generators.ticks import STATES


def test_ticks_have_all_states_and_a_move_that_follows_from_each(embedded) -> None:
    generated = GENERATORS["ticks"](generator="ticks", rows=2 * STATES + 100)
    rows = generated.frame(embedded, 3).to_arrow().to_pandas().sort_values("at")
    state = ["spread", "imbalance", "trend", "volume"]
    assert len(rows) == generated.rows and rows.tick_id.is_unique and rows["at"].is_unique and (rows.tick_id > 2**53).mean() > 0.4
    assert len(rows[state].drop_duplicates()) == len(rows[[*state, "move"]].drop_duplicates()) == STATES
    assert len(rows[:STATES][state].drop_duplicates()) == STATES
    still = rows[(rows.imbalance == 0) & ((rows.trend == 0) | (rows.volume == 0))]
    assert (still.move == 0).all() and rows.move.corr(rows.imbalance) > 0.5
    other = GENERATORS["ticks"](generator="ticks", seed=1)
    assert not other.block(0, 50).equals(generated.block(0, 50)) and not generated.block(1, 50).equals(generated.block(0, 50))
    assert generated.block(2, 100).equals(generated.block(2, STATES).slice(0, 100))
